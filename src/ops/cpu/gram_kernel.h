// The inner part of the Gram matrix of bfloat16 rows for processors with AVX512-BF16; free of torch headers, since it
// is compiled only for that instruction set.
#pragma once
#include <cstdint>

namespace qroar::ops::cpu {

constexpr int64_t kGramPanel = 64;  ///< channels that are packed together

/// Packs `channels` <= 64 channels of rows [rows] as [(rows + 1) / 2][64] pairs of adjacent rows, with zeros for the
/// channels and the row that are not there.
void pack_gram_panel(const uint16_t* x, int64_t stride, int64_t rows, int64_t channels, uint32_t* panel);

/// Computes sum[i][j] += sum over rows of a's channel i times b's channel j for two packed panels, [64][64].  Products
/// are exact; sums are in float32, of two adjacent rows at a time.
void add_products(const uint32_t* a, const uint32_t* b, int64_t pairs, float* sum);

}  // namespace qroar::ops::cpu
