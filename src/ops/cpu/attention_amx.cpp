// attention_kernel.cpp with both products on AMX: 16 x 64 scores at a time in four tile registers.  They pass through
// memory (L1) to become exponentials, which take longer here than the products do.
#include "ops/cpu/amx_tile.h"
#include "ops/cpu/attention_rows.h"

namespace qroar::ops::cpu {
namespace {

constexpr int64_t kRows = kTileRows;
constexpr int64_t kPairs = kTileBytes / 4;  // of bfloat16 numbers, in a row of a tile register

/// Has the compiler write to memory what it holds in registers: GCC 12 does not say of its intrinsics for AMX that they
/// read memory, and would leave such stores out.
QROAR_INLINE void write_to_memory() { asm volatile("" ::: "memory"); }

/// Adds to the four sums the product of 16 rows of a, row_stride words apart, and 64 columns of b [pairs][64].
QROAR_INLINE void multiply_tiles(const Bf16Pair* a, int64_t row_stride, const Bf16Pair* b, int64_t pairs) {
  constexpr int64_t kStride = kKeyTile * sizeof(Bf16Pair);
  for (int64_t p = 0; p < pairs; p += kPairs, b += kPairs * kKeyTile) {
    _tile_loadd(4, a + p, row_stride * static_cast<int64_t>(sizeof(Bf16Pair)));
    _tile_loadd(5, b, kStride);
    _tile_loadd(6, b + kPairs, kStride);
    _tile_dpbf16ps(0, 4, 5);
    _tile_loadd(7, b + 2 * kPairs, kStride);
    _tile_dpbf16ps(1, 4, 6);
    _tile_loadd(5, b + 3 * kPairs, kStride);
    _tile_dpbf16ps(2, 4, 7);
    _tile_dpbf16ps(3, 4, 5);
  }
}

QROAR_INLINE void store_sums(float* place, int64_t stride) {
  _tile_stored(0, place, stride);
  _tile_stored(1, place + kLanes, stride);
  _tile_stored(2, place + 2 * kLanes, stride);
  _tile_stored(3, place + 3 * kLanes, stride);
}

/// 16 rows and a key tile, between their two products.
struct Step {
  int64_t row, tile;
  bool masked;
  alignas(64) float scores[kRows][kKeyTile];
};

QROAR_INLINE void score(const QueryBlock& block, PackedHead packed, Step& step) {
  const int64_t pairs = block.dim / 2;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  multiply_tiles(block.queries + step.row * pairs, pairs, packed.keys + step.tile * pairs * kKeyTile, pairs);
  store_sums(step.scores[0], sizeof(step.scores[0]));
}

QROAR_INLINE void mix(QueryBlock& block, PackedHead packed, __m512 scale, const Step& step) {
  alignas(64) Bf16Pair weights[kRows][kKeyTile / 2];
  for (int64_t r = 0; r < kRows; ++r) {
    __m512 c[kVectors];
    QROAR_UNROLL for (int i = 0; i < kVectors; ++i) c[i] = _mm512_load_ps(step.scores[r] + i * kLanes);
    if (step.masked) mask_row(block, step.row + r, step.tile, c);
    weigh_row(block, step.row + r, c, scale, weights[r]);
  }
  write_to_memory();
  const int64_t stride = block.dim * static_cast<int64_t>(sizeof(float));
  for (int64_t panel = 0; panel < block.dim; panel += kKeyTile) {
    float* mixed = block.mixed + step.row * block.dim + panel;
    _tile_loadd(0, mixed, stride);
    _tile_loadd(1, mixed + kLanes, stride);
    _tile_loadd(2, mixed + 2 * kLanes, stride);
    _tile_loadd(3, mixed + 3 * kLanes, stride);
    multiply_tiles(weights[0], kKeyTile / 2, packed.values + (step.tile * block.dim + panel) * (kKeyTile / 2),
                   kKeyTile / 2);
    store_sums(mixed, stride);
  }
}

void attend(QueryBlock& block, int64_t begin, int64_t end, PackedHead packed, float log2_scale) {
  const __m512 scale = _mm512_set1_ps(log2_scale);
  configure_tiles();
  // The scores of a step are computed before the exponentials of the one before, so that the processor does both at
  // once.
  Step steps[2];
  int64_t count = 0;
  for_seen_tiles<kRows>(block, begin, end, [&](int64_t row, int64_t tile, bool masked) {
    Step& step = steps[count % 2];
    step.row = row;
    step.tile = tile;
    step.masked = masked;
    score(block, packed, step);
    if (count++ > 0) mix(block, packed, scale, steps[count % 2]);
  });
  if (count > 0) mix(block, packed, scale, steps[(count - 1) % 2]);
  _tile_release();
}

}  // namespace

const AttentionKernel kAmxAttention{kRows, attend};

}  // namespace qroar::ops::cpu
