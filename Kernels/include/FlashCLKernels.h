#ifndef FLASHCL_KERNELS_H
#define FLASHCL_KERNELS_H

/// Number of kernel files in this library.
int flashcl_kernel_file_count(void);
/// Name of file `index`, such as "layer_norm.cl".
const char *flashcl_kernel_file_name(int index);
/// Text of file `index`, terminated by a zero byte.
const char *flashcl_kernel_file_text(int index);

#endif
