// What describes a format to the CPU's and the GPU's code; without torch or CUDA types, so that both can include it.
#pragma once

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

}  // namespace qroar::ops
