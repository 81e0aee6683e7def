// 4-bit code books (NF4, FP4, AF4): fake quantization of blocks with a table, its numeric contract and its tables.
// Sources: bitsandbytes 0.50.2 (functional.py get_4bit_type, create_dynamic_map; backends/default/ops.py), QLoRA (arXiv
// 2305.14314), AF4 (arXiv 2306.06965); docs/method.md 7.2.
#pragma once
#include <ATen/ATen.h>

#include "ops/formats.h"

namespace qroar::ops {

extern const CodeBook kNf4;  ///< quantiles of the normal distribution
extern const CodeBook kFp4;  ///< bitsandbytes' sign-magnitude floats: 0, 1/16, 2, 3, 4, 6, 8, 12 over 12
extern const CodeBook
    kAf4;  ///< optimal for the mean absolute error of a normally distributed block of 64; for this size only

/// Contract, bitwise equal on CPU and GPU: everything in float32 from the weight's dtype, each operation rounded once.
/// A block consists of `block` consecutive elements of the flattened row-major weight, so that a block may cross rows
/// and the last may be shorter.  Per block
///   absmax = max |w|, x = w * (1 / max(absmax, 1e-38)), a reciprocal and a product as in bitsandbytes
///   code   = how many thresholds x exceeds: on a threshold, the midpoint of two values, this is the lower value (below
///            zero the larger magnitude, as in bitsandbytes on CPU; on GPU it chooses FP4's smaller magnitude there)
///   w'     = codes[code] * absmax, cast once to the weight's dtype
/// double_quant is bitsandbytes' compress_statistics: with offset = mean of all absmax, absmax - offset is quantized in
/// the same way to the 256 values of the signed dynamic map, in blocks of 256 with a float32 absmax each, and the
/// offset is added back.  The mean adds pieces that ATen sums on one thread, so that the bits never depend on threads.
/// A NaN or infinite weight makes its block NaN (with double_quant the complete tensor).
at::Tensor codebook_fake_quant(const at::Tensor& weight_OI, int64_t block, const CodeBook& book, bool double_quant);

/// Returns the signed dynamic map of 256 values in ascending order, float32 on the CPU (arXiv 1511.04561 as in
/// bitsandbytes).
const at::Tensor& dynamic_map();

namespace reference {
at::Tensor codebook_fake_quant(const at::Tensor& weight_OI, int64_t block, const CodeBook& book, bool double_quant);
}  // namespace reference

}  // namespace qroar::ops
