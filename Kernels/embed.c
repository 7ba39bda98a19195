// Every file of this folder, inside the binary. One line per file below, and one in the list at the end; a test compares
// both with the folder.
#include "FlashCLKernels.h"

#define FILE_TEXT(name) static const char name[]
FILE_TEXT(argmax) = {
#embed "argmax.cl" suffix(, )
  0};
FILE_TEXT(attention) = {
#embed "attention.cl" suffix(, )
  0};
FILE_TEXT(attention_blocks) = {
#embed "attention_blocks.cl" suffix(, )
  0};
FILE_TEXT(attention_decode) = {
#embed "attention_decode.cl" suffix(, )
  0};
FILE_TEXT(attention_lanes) = {
#embed "attention_lanes.cl" suffix(, )
  0};
FILE_TEXT(attention_matrix) = {
#embed "attention_matrix.cl" suffix(, )
  0};
FILE_TEXT(attention_rows) = {
#embed "attention_rows.cl" suffix(, )
  0};
FILE_TEXT(attention_split) = {
#embed "attention_split.cl" suffix(, )
  0};
FILE_TEXT(attention_tiled) = {
#embed "attention_tiled.cl" suffix(, )
  0};
FILE_TEXT(attention_weights) = {
#embed "attention_weights.cl" suffix(, )
  0};
FILE_TEXT(cache) = {
#embed "cache.cl" suffix(, )
  0};
FILE_TEXT(cache_append) = {
#embed "cache_append.cl" suffix(, )
  0};
FILE_TEXT(cache_copy) = {
#embed "cache_copy.cl" suffix(, )
  0};
FILE_TEXT(ceilings) = {
#embed "ceilings.cl" suffix(, )
  0};
FILE_TEXT(embedding) = {
#embed "embedding.cl" suffix(, )
  0};
FILE_TEXT(fragment) = {
#embed "fragment.cl" suffix(, )
  0};
FILE_TEXT(fragment_dpas) = {
#embed "fragment_dpas.cl" suffix(, )
  0};
FILE_TEXT(fragment_mfma) = {
#embed "fragment_mfma.cl" suffix(, )
  0};
FILE_TEXT(fragment_mma) = {
#embed "fragment_mma.cl" suffix(, )
  0};
FILE_TEXT(fragment_wmma) = {
#embed "fragment_wmma.cl" suffix(, )
  0};
FILE_TEXT(gather) = {
#embed "gather.cl" suffix(, )
  0};
FILE_TEXT(gelu) = {
#embed "gelu.cl" suffix(, )
  0};
FILE_TEXT(gelu_multiply) = {
#embed "gelu_multiply.cl" suffix(, )
  0};
FILE_TEXT(layer_norm) = {
#embed "layer_norm.cl" suffix(, )
  0};
FILE_TEXT(linear) = {
#embed "linear.cl" suffix(, )
  0};
FILE_TEXT(linear_argmax) = {
#embed "linear_argmax.cl" suffix(, )
  0};
FILE_TEXT(linear_blocks) = {
#embed "linear_blocks.cl" suffix(, )
  0};
FILE_TEXT(linear_decode) = {
#embed "linear_decode.cl" suffix(, )
  0};
FILE_TEXT(linear_group) = {
#embed "linear_group.cl" suffix(, )
  0};
FILE_TEXT(linear_items) = {
#embed "linear_items.cl" suffix(, )
  0};
FILE_TEXT(linear_lanes) = {
#embed "linear_lanes.cl" suffix(, )
  0};
FILE_TEXT(linear_matrix) = {
#embed "linear_matrix.cl" suffix(, )
  0};
FILE_TEXT(linear_plain) = {
#embed "linear_plain.cl" suffix(, )
  0};
FILE_TEXT(linear_tiled) = {
#embed "linear_tiled.cl" suffix(, )
  0};
FILE_TEXT(norm) = {
#embed "norm.cl" suffix(, )
  0};
FILE_TEXT(prelude) = {
#embed "prelude.cl" suffix(, )
  0};
FILE_TEXT(rms_norm) = {
#embed "rms_norm.cl" suffix(, )
  0};
FILE_TEXT(rope) = {
#embed "rope.cl" suffix(, )
  0};
FILE_TEXT(silu_multiply) = {
#embed "silu_multiply.cl" suffix(, )
  0};
FILE_TEXT(softcap) = {
#embed "softcap.cl" suffix(, )
  0};
FILE_TEXT(softmax) = {
#embed "softmax.cl" suffix(, )
  0};
FILE_TEXT(top_k) = {
#embed "top_k.cl" suffix(, )
  0};
FILE_TEXT(weight_tile) = {
#embed "weight_tile.cl" suffix(, )
  0};
FILE_TEXT(weighted_gather) = {
#embed "weighted_gather.cl" suffix(, )
  0};
FILE_TEXT(weights) = {
#embed "weights.cl" suffix(, )
  0};

static const struct {
  const char *name, *text;
} files[] = {
  {"argmax.cl", argmax},
  {"attention.cl", attention},
  {"attention_blocks.cl", attention_blocks},
  {"attention_decode.cl", attention_decode},
  {"attention_lanes.cl", attention_lanes},
  {"attention_matrix.cl", attention_matrix},
  {"attention_rows.cl", attention_rows},
  {"attention_split.cl", attention_split},
  {"attention_tiled.cl", attention_tiled},
  {"attention_weights.cl", attention_weights},
  {"cache.cl", cache},
  {"cache_append.cl", cache_append},
  {"cache_copy.cl", cache_copy},
  {"ceilings.cl", ceilings},
  {"embedding.cl", embedding},
  {"fragment.cl", fragment},
  {"fragment_dpas.cl", fragment_dpas},
  {"fragment_mfma.cl", fragment_mfma},
  {"fragment_mma.cl", fragment_mma},
  {"fragment_wmma.cl", fragment_wmma},
  {"gather.cl", gather},
  {"gelu.cl", gelu},
  {"gelu_multiply.cl", gelu_multiply},
  {"layer_norm.cl", layer_norm},
  {"linear.cl", linear},
  {"linear_argmax.cl", linear_argmax},
  {"linear_blocks.cl", linear_blocks},
  {"linear_decode.cl", linear_decode},
  {"linear_group.cl", linear_group},
  {"linear_items.cl", linear_items},
  {"linear_lanes.cl", linear_lanes},
  {"linear_matrix.cl", linear_matrix},
  {"linear_plain.cl", linear_plain},
  {"linear_tiled.cl", linear_tiled},
  {"norm.cl", norm},
  {"prelude.cl", prelude},
  {"rms_norm.cl", rms_norm},
  {"rope.cl", rope},
  {"silu_multiply.cl", silu_multiply},
  {"softcap.cl", softcap},
  {"softmax.cl", softmax},
  {"top_k.cl", top_k},
  {"weight_tile.cl", weight_tile},
  {"weighted_gather.cl", weighted_gather},
  {"weights.cl", weights},
};

int flashcl_kernel_file_count(void) { return sizeof files / sizeof *files; }
const char *flashcl_kernel_file_name(int index) { return files[index].name; }
const char *flashcl_kernel_file_text(int index) { return files[index].text; }
