// A driver that breaks: libOpenCL with one fault, which $BROKEN_OPENCL names as "deed:place:word".
//
//   deed   crash (a signal), hang (no answer, ever), skip (the launch is left out, so that its results are wrong), blink
//          (every second launch is left out), refuse (the compiler's no, or a group too large), memory (the host's is full)
//   place  build (the program's text holds the word) or launch (the kernel's name is the word)
//
// Everything else is the system's libOpenCL: dlsym finds its functions through this library, which is linked with it.
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *next(const char *name) {
  static void *library;
  if (!library) library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
  return dlsym(library, name);
}

// The error that the call is to answer with; 1 where the launch is to be left out.
static int fault(const char *place, const char *text, int whole) {
  const char *order = getenv("BROKEN_OPENCL");
  if (!order) return 0;
  const char *colon = strchr(order, ':');
  if (!colon || strncmp(colon + 1, place, strlen(place)) || colon[1 + strlen(place)] != ':') return 0;
  const char *word = colon + 2 + strlen(place);
  if (whole ? strcmp(text, word) != 0 : strstr(text, word) == NULL) return 0;
  if (!strncmp(order, "crash", 5)) *(volatile int *)8 = 1;
  if (!strncmp(order, "hang", 4))
    for (;;) pause();
  if (!strncmp(order, "refuse", 6)) return whole ? CL_INVALID_WORK_GROUP_SIZE : CL_BUILD_PROGRAM_FAILURE;
  if (!strncmp(order, "memory", 6)) return CL_OUT_OF_HOST_MEMORY;
  static int launches;
  return strncmp(order, "blink", 5) != 0 || ++launches % 2 == 0;
}

cl_int clBuildProgram(cl_program program, cl_uint count, const cl_device_id *devices, const char *options,
                      void(CL_CALLBACK *notify)(cl_program, void *), void *data) {
  cl_int (*info)(cl_program, cl_program_info, size_t, void *, size_t *) = next("clGetProgramInfo");
  size_t size = 0;
  if (info(program, CL_PROGRAM_SOURCE, 0, NULL, &size) == CL_SUCCESS && size > 0) {
    char *text = calloc(size + 1, 1);
    info(program, CL_PROGRAM_SOURCE, size, text, NULL);
    const int code = fault("build", text, 0);
    free(text);
    if (code < 0) return code;
  }
  cl_int (*build)(cl_program, cl_uint, const cl_device_id *, const char *, void(CL_CALLBACK *)(cl_program, void *), void *) =
      next("clBuildProgram");
  return build(program, count, devices, options, notify, data);
}

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint sides, const size_t *offset,
                              const size_t *global, const size_t *local, cl_uint waits, const cl_event *list,
                              cl_event *event) {
  cl_int (*info)(cl_kernel, cl_kernel_info, size_t, void *, size_t *) = next("clGetKernelInfo");
  char name[256] = "";
  info(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name, name, NULL);
  const int code = event ? 0 : fault("launch", name, 1);
  if (code != 0) return code < 0 ? code : CL_SUCCESS;
  cl_int (*launch)(cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint,
                   const cl_event *, cl_event *) = next("clEnqueueNDRangeKernel");
  return launch(queue, kernel, sides, offset, global, local, waits, list, event);
}
