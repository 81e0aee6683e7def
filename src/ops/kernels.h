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

}  // namespace kernels
}  // namespace qroar::ops
