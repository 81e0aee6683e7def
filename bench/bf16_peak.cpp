// The bfloat16 peak of this processor's cores: products of pairs summed in float32 (VDPBF16PS), out of registers alone.
// usage: bf16_peak [THREADS] (default: all); prints TFLOP/s
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

constexpr int kChains = 24;  // independent sums, more than latency times throughput, that fit the 32 registers
constexpr double kPerInstruction = 16 * 2 * 2;
constexpr long kRounds = 20'000'000;

float work() {
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

}  // namespace

int main(int argc, char** argv) {
  if (!__builtin_cpu_supports("avx512bf16")) {
    std::fprintf(stderr, "bf16_peak: this processor lacks AVX512-BF16\n");
    return 1;
  }
  const unsigned count = argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : std::thread::hardware_concurrency();
  double best = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<float> totals(count);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < count; ++i) threads.emplace_back([&totals, i] { totals[i] = work(); });
    for (std::thread& thread : threads) thread.join();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (totals[0] == 0) return 1;
    best = std::max(best, count * kPerInstruction * kChains * kRounds / seconds.count() / 1e12);
  }
  std::printf("%.3f\n", best);
}
