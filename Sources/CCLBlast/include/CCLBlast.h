// The two matrix products of CLBlast that are used, found at run time: without libclblast.so.1 there is one strategy
// less, and without its header the project still builds.
#ifndef FLASHCL_CCLBLAST_H
#define FLASHCL_CCLBLAST_H

#include "COpenCL.h"  // first: it sets the OpenCL version that both modules see

#if __has_include(<clblast_c.h>)
#include <clblast_c.h>
#else
typedef enum CLBlastLayout_ { CLBlastLayoutRowMajor = 101, CLBlastLayoutColMajor = 102 } CLBlastLayout;
typedef enum CLBlastTranspose_ { CLBlastTransposeNo = 111, CLBlastTransposeYes = 112 } CLBlastTranspose;
typedef enum CLBlastStatusCode_ {
  CLBlastSuccess = 0,
  CLBlastNotImplemented = -1024,
  CLBlastUnexpectedError = -2039
} CLBlastStatusCode;
#endif

// True when libclblast.so.1 can be opened and has both products. The first call opens it; safe from any thread.
bool fcl_clblast_available(void);

// C = alpha · op(A) · op(B) + beta · C, with op(A) [m, k], op(B) [k, n], C [m, n]; offsets and leading dimensions count
// elements. CLBlastNotImplemented without the library.
CLBlastStatusCode fcl_CLBlastSgemm(CLBlastLayout layout, CLBlastTranspose a_transpose, CLBlastTranspose b_transpose,
                                   size_t m, size_t n, size_t k, float alpha, cl_mem a, size_t a_offset, size_t a_ld,
                                   cl_mem b, size_t b_offset, size_t b_ld, float beta, cl_mem c, size_t c_offset,
                                   size_t c_ld, cl_command_queue *queue, cl_event *event);

// The same in half precision; refused by devices without cl_khr_fp16.
CLBlastStatusCode fcl_CLBlastHgemm(CLBlastLayout layout, CLBlastTranspose a_transpose, CLBlastTranspose b_transpose,
                                   size_t m, size_t n, size_t k, cl_half alpha, cl_mem a, size_t a_offset, size_t a_ld,
                                   cl_mem b, size_t b_offset, size_t b_ld, cl_half beta, cl_mem c, size_t c_offset,
                                   size_t c_ld, cl_command_queue *queue, cl_event *event);

#endif
