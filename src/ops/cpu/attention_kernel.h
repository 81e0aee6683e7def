// The inner part of causal attention in bfloat16 for processors with AVX512-BF16, and for those with AMX, too; free of
// torch headers, since it is compiled only for these instruction sets.  attention.cpp checks what the processor
// supports, and splits tensors into the blocks processed here.
#pragma once
#include <cstdint>

namespace qroar::ops::cpu {

constexpr int64_t kKeyTile = 64;     ///< keys per packed tile, and the unit of columns: head_dim is a multiple of it
constexpr int64_t kBlockRows = 192;  ///< query rows per block (a multiple of row_tile): their outputs stay in L2

/// Bits of bfloat16 numbers, two per 32-bit word as the dot-product instruction reads them.
using Bf16 = uint16_t;
using Bf16Pair = uint32_t;

/// A matrix of bfloat16 rows in a tensor.
struct HeadRows {
  const Bf16* data;
  int64_t stride;  ///< elements between rows
};

/// Keys and values of one head, packed in tiles of kKeyTile tokens, with zeros after the last token.
struct PackedHead {
  Bf16Pair* keys;    ///< [tiles][d/2][kKeyTile]: channels (2p, 2p+1) of each key
  Bf16Pair* values;  ///< [tiles][d/64][kKeyTile/2][64]: tokens (2n, 2n+1) of each channel
};

/// Packs those tokens of the tile, [tile * kKeyTile, (tile + 1) * kKeyTile), that are below `tokens`.
void pack_tile(HeadRows keys, HeadRows values, int64_t tile, int64_t tokens, int64_t dim, PackedHead packed);

/// kBlockRows queries of one key/value head and their accumulated sums.
struct QueryBlock {
  alignas(64) float sum[kBlockRows][16];  ///< sums of exponentials, one per vector lane
  float shift[kBlockRows];                ///< the reference of the scores, in units of log2
  int64_t first[kBlockRows];              ///< the first key that a row sees, among the given keys; non-decreasing
  int64_t position[kBlockRows];           ///< of the last key that a row sees, among the given keys; non-decreasing
  int64_t rows;                           ///< a multiple of the kernel's row_tile
  int64_t dim;
  Bf16Pair* queries;  ///< [kBlockRows][d/2]
  float* mixed;       ///< [kBlockRows][d]: unnormalized outputs
};

/// What differs between instruction sets.
struct AttentionKernel {
  int64_t row_tile;  ///< query rows that are computed together

  /// Accumulates the attention of rows [begin, end), complete tiles of rows, to these keys, from the rows' first ones
  /// up to their positions.  log2_scale = log2(e) / sqrt(d).
  void (*attend)(QueryBlock& block, int64_t begin, int64_t end, PackedHead packed, float log2_scale);
};
extern const AttentionKernel kAvx512Attention;
extern const AttentionKernel kAmxAttention;  ///< for processors with AMX-BF16, where has_amx_bf16()

/// Resets the accumulated sums.
void start(QueryBlock& block);

/// Writes one finished row of the block, normalized and rounded to nearest even.
void write_row(const QueryBlock& block, int64_t row, Bf16* out);

}  // namespace qroar::ops::cpu
