#include "COpenCL.h"

#include <dlfcn.h>
#include <stdio.h>

bool fcl_open(const char *path, fcl_functions *functions, char *reason, size_t capacity) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *error = dlerror();
    snprintf(reason, capacity, "%s", error ? error : path);
    return false;
  }
#define FCL_FIND(function)                                                                                            \
  if (!(functions->function = (__typeof__(functions->function))dlsym(library, #function))) {                          \
    snprintf(reason, capacity, "%s: no function " #function ", OpenCL 1.2 is needed", path);                          \
    return false;                                                                                                     \
  }
  FCL_FUNCTIONS(FCL_FIND)
#undef FCL_FIND
  return true;
}
