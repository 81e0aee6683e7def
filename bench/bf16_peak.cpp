// The bfloat16 peak of this processor's cores: products of pairs summed in float32, out of registers alone, by AMX
// (TDPBF16PS) where it has that, else by AVX512-BF16 (VDPBF16PS).
// usage: bf16_peak [THREADS] (default: all); prints TFLOP/s
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "ops/cpu/amx_tile.h"
#include "ops/cpu/instruction_sets.h"

namespace {

constexpr int kChains = 24;  // independent sums, more than latency times throughput, that fit the 32 registers
constexpr double kPerInstruction = 16 * 2 * 2;
constexpr long kRounds = 20'000'000;

float work_avx512() {
  __m512bh a = (__m512bh)_mm512_set1_epi16(0x3f80), b = a;  // 1
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  for (long round = 0; round < kRounds; ++round) {
#pragma GCC unroll 24
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], a, b);
  }
  float total = 0;
  for (const __m512& sum : sums) total += _mm512_reduce_add_ps(sum);
  return total;
}

constexpr double kPerTileInstruction = 16 * 16 * 32 * 2;

/// Four sums of whole tile registers: more than the latency of a product times its throughput.
float work_amx() {
  qroar::ops::cpu::configure_tiles();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  for (long round = 0; round < kRounds; ++round) {
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 4, 5);
    _tile_dpbf16ps(2, 4, 5);
    _tile_dpbf16ps(3, 4, 5);
  }
  _tile_release();
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (!qroar::ops::cpu::has_avx512_bf16()) {
    std::fprintf(stderr, "bf16_peak: this processor lacks AVX512-BF16\n");
    return 1;
  }
  const bool amx = qroar::ops::cpu::has_amx_bf16();
  const double per_round = amx ? 4 * kPerTileInstruction : kChains * kPerInstruction;
  const unsigned count = argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : std::thread::hardware_concurrency();
  double best = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<float> totals(count);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < count; ++i)
      threads.emplace_back([&totals, amx, i] { totals[i] = amx ? work_amx() : work_avx512(); });
    for (std::thread& thread : threads) thread.join();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (totals[0] == 0) return 1;
    best = std::max(best, count * per_round * kRounds / seconds.count() / 1e12);
  }
  std::printf("%.3f\n", best);
}
