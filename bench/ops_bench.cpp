// Each op at SmolLM2-135M's and Llama-2-7B's shapes: dispatched ("fast"), by its definition ("reference") and, where
// ATen has one call for it, by that.  Rates are per second of CPU time of the process, all threads together, so that
// they are rates of one core and busy neighbours disturb them little; "Time" is the clock on the wall.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>

#include "ops/hadamard.h"
#include "ops/ops.h"

namespace {

using namespace qroar;

enum Model { kSmolLm2, kLlama2 };
enum Variant { kFast, kReference, kAten };

struct Shape {
  int64_t heads, kv_heads, head_dim, hidden, intermediate, vocabulary;
};
constexpr Shape kShapes[] = {{9, 3, 64, 576, 1536, 49152}, {32, 32, 128, 4096, 11008, 32000}};

at::Tensor random(at::IntArrayRef sizes) { return at::randn(sizes).to(at::kBFloat16); }

using benchmark::Counter;

void set_rate(benchmark::State& state, const char* name, double per_iteration) {
  state.counters[name] = Counter(per_iteration * 1e-9, Counter::kIsIterationInvariantRate);
  const char* models[] = {"SmolLM2-135M", "Llama-2-7B"};
  const char* variants[] = {"fast", "reference", "ATen"};
  state.SetLabel(std::string(models[state.range(0)]) + " " + variants[state.range(1)]);
}

void attention(benchmark::State& state) {
  const Shape& s = kShapes[state.range(0)];
  const int64_t tokens = state.range(2);
  const at::Tensor q = random({tokens, s.heads, s.head_dim}), k = random({tokens, s.kv_heads, s.head_dim}),
                   v = random({tokens, s.kv_heads, s.head_dim});
  const auto batch = [](const at::Tensor& x_THd) { return x_THd.transpose(0, 1).unsqueeze(0); };
  for (auto _ : state) {
    at::Tensor out;
    if (state.range(1) == kFast) out = ops::causal_attention(q, k, v);
    if (state.range(1) == kReference) out = ops::reference::causal_attention(q, k, v);
    if (state.range(1) == kAten) {
      out = at::scaled_dot_product_attention(batch(q), batch(k), batch(v), {}, 0.0, /*is_causal=*/true, {},
                                             /*enable_gqa=*/true);
    }
    benchmark::DoNotOptimize(out.data_ptr());
  }
  // Two products of T^2 / 2 pairs each.
  set_rate(state, "GFLOP", 2.0 * static_cast<double>(tokens * tokens * s.heads * s.head_dim));
}

void rms_norm(benchmark::State& state) {
  const Shape& s = kShapes[state.range(0)];
  const at::Tensor x = random({state.range(2), s.hidden}), weight = random({s.hidden});
  for (auto _ : state) {
    at::Tensor out;
    if (state.range(1) == kFast) out = ops::rms_norm(x, weight, 1e-5);
    if (state.range(1) == kReference) out = ops::reference::rms_norm(x, weight, 1e-5);
    if (state.range(1) == kAten) out = at::rms_norm(x, {s.hidden}, weight, 1e-5);
    benchmark::DoNotOptimize(out.data_ptr());
  }
  set_rate(state, "GB", 2.0 * static_cast<double>(x.nbytes()));
}

void rope(benchmark::State& state) {
  const Shape& s = kShapes[state.range(0)];
  at::Tensor x = random({state.range(2), s.heads, s.head_dim});
  const at::Tensor angle = at::rand({state.range(2), s.head_dim / 2});
  const ops::RopeAngles angles{angle.cos(), angle.sin()};
  for (auto _ : state) {
    if (state.range(1) == kFast) ops::rope_(x, angles);
    if (state.range(1) == kReference) ops::reference::rope_(x, angles);
    benchmark::DoNotOptimize(x.data_ptr());
  }
  set_rate(state, "GB", 2.0 * static_cast<double>(x.nbytes()));
}

void silu_mul(benchmark::State& state) {
  const Shape& s = kShapes[state.range(0)];
  const at::Tensor gate = random({state.range(2), s.intermediate}), up = random({state.range(2), s.intermediate});
  for (auto _ : state) {
    at::Tensor out;
    if (state.range(1) == kFast) out = ops::silu_mul(gate, up);
    if (state.range(1) == kReference) out = ops::reference::silu_mul(gate, up);
    if (state.range(1) == kAten) out = at::silu(gate).mul_(up);
    benchmark::DoNotOptimize(out.data_ptr());
  }
  set_rate(state, "GB", 3.0 * static_cast<double>(gate.nbytes()));
}

/// In front of down_proj; the reference is one product with the whole matrix, 2 T n^2 operations.
void hadamard(benchmark::State& state) {
  const int64_t n = kShapes[state.range(0)].intermediate;
  const at::Tensor x = random({state.range(2), n});
  const bool fast = state.range(1) == kFast;
  const ops::Hadamard transform(n, at::kBFloat16, at::kCPU);
  const at::Tensor signs = fast ? at::Tensor() : ops::reference::hadamard_signs(n).to(at::kFloat);
  for (auto _ : state) {
    const at::Tensor out = fast ? transform(x) : at::mm(x.to(at::kFloat), signs).to(at::kBFloat16);
    benchmark::DoNotOptimize(out.data_ptr());
  }
  set_rate(state, "GB", 2.0 * static_cast<double>(x.nbytes()));
}

void token_nll(benchmark::State& state) {
  const Shape& s = kShapes[state.range(0)];
  const at::Tensor logits = random({state.range(2), s.vocabulary});
  const at::Tensor targets = at::randint(s.vocabulary, {state.range(2)}, at::TensorOptions().dtype(at::kLong));
  for (auto _ : state) {
    at::Tensor out;
    if (state.range(1) == kFast) out = ops::token_nll(logits, targets);
    if (state.range(1) == kReference) out = ops::reference::token_nll(logits, targets);
    if (state.range(1) == kAten) {
      out = at::cross_entropy_loss(logits.to(at::kFloat), targets, {}, at::Reduction::None);
    }
    benchmark::DoNotOptimize(out.data_ptr());
  }
  set_rate(state, "GB", static_cast<double>(logits.nbytes()));
}

/// The products around attention, for proportion: SmolLM2's gate projection and its head, without and with new memory.
void linear(benchmark::State& state) {
  const Shape& s = kShapes[kSmolLm2];
  const int64_t columns = state.range(0) == 0 ? s.intermediate : s.vocabulary;
  const at::Tensor x = random({state.range(1), s.hidden}), weight = random({columns, s.hidden});
  for (auto _ : state) benchmark::DoNotOptimize(at::linear(x, weight).data_ptr());
  state.counters["GFLOP"] =
      Counter(2e-9 * static_cast<double>(x.numel() * columns), Counter::kIsIterationInvariantRate);
}

#define QROAR_BENCH(op, ...)                \
  BENCHMARK(op)                             \
      ->ArgNames({"model", "variant", "T"}) \
      ->ArgsProduct(__VA_ARGS__)            \
      ->MeasureProcessCPUTime()             \
      ->Unit(benchmark::kMillisecond)

QROAR_BENCH(attention, {{kSmolLm2}, {kFast, kReference, kAten}, {512, 2048, 8192}});
QROAR_BENCH(attention, {{kLlama2}, {kFast, kReference, kAten}, {2048}});
QROAR_BENCH(rms_norm, {{kSmolLm2, kLlama2}, {kFast, kReference, kAten}, {2048}});
QROAR_BENCH(rope, {{kSmolLm2, kLlama2}, {kFast, kReference}, {2048}});
QROAR_BENCH(silu_mul, {{kSmolLm2, kLlama2}, {kFast, kReference, kAten}, {2048}});
QROAR_BENCH(hadamard, {{kSmolLm2, kLlama2}, {kFast, kReference}, {512}});
QROAR_BENCH(token_nll, {{kSmolLm2, kLlama2}, {kFast, kReference, kAten}, {512}});

BENCHMARK(linear)
    ->ArgNames({"head", "T"})
    ->ArgsProduct({{0, 1}, {256, 1024, 2048}})
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
