// What the CUDA kernels offer, without torch or CUDA types, so that host code needs no nvcc and kernels no torch
// headers. All run on the legacy default stream, which is ATen's current stream in this program.
#pragma once
#include <cstdint>

namespace qroar::ops {

enum class RtnZero { plain, awq, included };

/// See ops/rtn.h for what the fields mean.
struct RtnGrid {
  int bits = 4;
  bool symmetric = false;
  RtnZero zero = RtnZero::plain;
  float clip = 1;
};

/// 16 values in ascending order and the 15 thresholds between neighbours; see ops/codebook.h.
struct CodeBook {
  float codes[16];
  float thresholds[15];
};

namespace kernels {

enum class Element { float32, bfloat16, float16 };

/// Fake-quantizes `groups` runs of `group_size` neighbouring elements on the device.  Returns the CUDA error's text, or
/// null.
const char* rtn_fake_quant(const void* in, void* out, Element element, int64_t groups, int64_t group_size,
                           const RtnGrid& grid);

/// Fake-quantizes `count` elements in runs of `block` neighbours, the last of which may be shorter.  The same return.
const char* codebook_fake_quant(const void* in, void* out, Element element, int64_t count, int64_t block,
                                const CodeBook& book);

// The ops that go row by row; contracts in ops/ops.h.  Rows are contiguous; weights and x share `element`.  All return
// as above.

/// x and out [rows, dim], weight [dim].
const char* rms_norm(const void* x, const void* weight, void* out, Element element, int64_t rows, int64_t dim,
                     float eps);

/// x [tokens, heads, 2 * pairs] in place, with strides in elements; cos and sin [tokens, pairs] float32.
const char* rope(void* x, Element element, int64_t tokens, int64_t heads, int64_t pairs, int64_t token_stride,
                 int64_t head_stride, const float* cos, const float* sin);

/// `count` elements each.
const char* silu_mul(const void* gate, const void* up, void* out, Element element, int64_t count);

/// logits [rows, vocabulary], targets [rows], nll [rows].
const char* token_nll(const void* logits, const int64_t* targets, double* nll, Element element, int64_t rows,
                      int64_t vocabulary);

}  // namespace kernels
}  // namespace qroar::ops
