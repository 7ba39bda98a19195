#include "CCLBlast.h"

#include <dlfcn.h>
#include <pthread.h>

static __typeof__(fcl_CLBlastSgemm) *sgemm;
static __typeof__(fcl_CLBlastHgemm) *hgemm;

static void open_library(void) {
  void *library = dlopen("libclblast.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) return;
  sgemm = (__typeof__(sgemm))dlsym(library, "CLBlastSgemm");
  hgemm = (__typeof__(hgemm))dlsym(library, "CLBlastHgemm");
}

bool fcl_clblast_available(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_library);
  return sgemm && hgemm;
}

CLBlastStatusCode fcl_CLBlastSgemm(CLBlastLayout layout, CLBlastTranspose a_transpose, CLBlastTranspose b_transpose,
                                   size_t m, size_t n, size_t k, float alpha, cl_mem a, size_t a_offset, size_t a_ld,
                                   cl_mem b, size_t b_offset, size_t b_ld, float beta, cl_mem c, size_t c_offset,
                                   size_t c_ld, cl_command_queue *queue, cl_event *event) {
  if (!fcl_clblast_available()) return CLBlastNotImplemented;
  return sgemm(layout, a_transpose, b_transpose, m, n, k, alpha, a, a_offset, a_ld, b, b_offset, b_ld, beta, c,
               c_offset, c_ld, queue, event);
}

CLBlastStatusCode fcl_CLBlastHgemm(CLBlastLayout layout, CLBlastTranspose a_transpose, CLBlastTranspose b_transpose,
                                   size_t m, size_t n, size_t k, cl_half alpha, cl_mem a, size_t a_offset, size_t a_ld,
                                   cl_mem b, size_t b_offset, size_t b_ld, cl_half beta, cl_mem c, size_t c_offset,
                                   size_t c_ld, cl_command_queue *queue, cl_event *event) {
  if (!fcl_clblast_available()) return CLBlastNotImplemented;
  return hgemm(layout, a_transpose, b_transpose, m, n, k, alpha, a, a_offset, a_ld, b, b_offset, b_ld, beta, c,
               c_offset, c_ld, queue, event);
}
