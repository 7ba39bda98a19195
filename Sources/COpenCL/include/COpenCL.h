// OpenCL's types and constants, and a table of its functions that is filled at run time. Nothing links libOpenCL: a
// missing library is an answer of fcl_open, not a process that the loader refuses to start.
#ifndef FLASHCL_COPENCL_H
#define FLASHCL_COPENCL_H

#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS  // clCreateCommandQueue: the one way to make a queue that every version has
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <stdbool.h>
#include <stddef.h>

// Every function that is used; all of them are in OpenCL 1.2.
#define FCL_FUNCTIONS(X)                                                                                              \
  X(clGetPlatformIDs) X(clGetPlatformInfo) X(clGetDeviceIDs) X(clGetDeviceInfo)                                       \
  X(clCreateContext) X(clReleaseContext) X(clCreateCommandQueue) X(clReleaseCommandQueue) X(clFlush) X(clFinish)      \
  X(clCreateBuffer) X(clReleaseMemObject)                                                                             \
  X(clEnqueueReadBuffer) X(clEnqueueWriteBuffer) X(clEnqueueCopyBuffer) X(clEnqueueFillBuffer)                        \
  X(clCreateProgramWithSource) X(clCreateProgramWithBinary) X(clBuildProgram) X(clGetProgramInfo)                     \
  X(clGetProgramBuildInfo) X(clReleaseProgram)                                                                        \
  X(clCreateKernel) X(clReleaseKernel) X(clGetKernelInfo) X(clGetKernelWorkGroupInfo) X(clSetKernelArg)               \
  X(clEnqueueNDRangeKernel) X(clGetEventProfilingInfo) X(clReleaseEvent)

// A table, not functions of OpenCL's names: libclblast must keep seeing the real ones.
typedef struct {
#define FCL_FIELD(function) __typeof__(function) *function;
  FCL_FUNCTIONS(FCL_FIELD)
#undef FCL_FIELD
} fcl_functions;

// Opens the library at `path` and fills the table; on failure says why in `reason` (cut to its capacity) and returns
// false. An opened library is never closed.
bool fcl_open(const char *path, fcl_functions *functions, char *reason, size_t capacity);

#endif
