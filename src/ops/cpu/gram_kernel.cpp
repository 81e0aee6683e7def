#include "ops/cpu/gram_kernel.h"

#include "ops/cpu/bf16_tile.h"

namespace qroar::ops::cpu {
namespace {

constexpr int kRows = 4;        // of the sum, in registers: 16 sums hide the instruction's latency
constexpr int64_t kPairs = 64;  // of a block, whose 16 KiB of a panel stay in L1

}  // namespace

void pack_gram_panel(const uint16_t* x, int64_t stride, int64_t rows, int64_t channels, uint32_t* panel) {
  for (int64_t row = 0; row < rows; row += 2, panel += kGramPanel) {
    const uint16_t *low = x + row * stride, *high = low + stride;
    const bool has_high = row + 1 < rows;
    for (int64_t i = 0; i < channels; ++i) {
      panel[i] = static_cast<uint32_t>(low[i]) | (has_high ? static_cast<uint32_t>(high[i]) << 16 : 0);
    }
    for (int64_t i = channels; i < kGramPanel; ++i) panel[i] = 0;
  }
}

void add_products(const uint32_t* a, const uint32_t* b, int64_t pairs, float* sum) {
  for (int64_t begin = 0; begin < pairs; begin += kPairs) {
    const int64_t count = pairs - begin < kPairs ? pairs - begin : kPairs;
    for (int64_t row = 0; row < kGramPanel; row += kRows) {
      __m512 c[kRows][kVectors];
      float* place = sum + row * kGramPanel;
      QROAR_UNROLL for (int r = 0; r < kRows; ++r) {
        QROAR_UNROLL for (int i = 0; i < kVectors; ++i) c[r][i] = _mm512_loadu_ps(place + r * kGramPanel + i * kLanes);
      }
      multiply<kGramPanel>(c, a + begin * kGramPanel + row, 1, b + begin * kGramPanel, count);
      QROAR_UNROLL for (int r = 0; r < kRows; ++r) {
        QROAR_UNROLL for (int i = 0; i < kVectors; ++i) _mm512_storeu_ps(place + r * kGramPanel + i * kLanes, c[r][i]);
      }
    }
  }
}

}  // namespace qroar::ops::cpu
