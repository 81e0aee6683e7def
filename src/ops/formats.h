// Descriptions of formats for CPU and GPU code, without torch or CUDA types, so that both can include them.
#pragma once

namespace qroar::ops {

enum class RtnZero { plain, awq, included };
enum class RtnArithmetic { float32, float16, bfloat16 };

/// The fields are explained in ops/rtn.h.
struct RtnGrid {
  int bits = 4;
  bool symmetric = false;
  RtnZero zero = RtnZero::plain;
  float clip = 1;
  RtnArithmetic arithmetic = RtnArithmetic::float32;
};

/// 16 values in ascending order and the 15 thresholds between adjacent values; see ops/codebook.h.
struct CodeBook {
  float codes[16];
  float thresholds[15];
};

}  // namespace qroar::ops
