// Tokens per second of decoding at batch 1 behind prompts of several lengths, beside what the memory's bandwidth
// allows: every token reads all weights but the embedding's other rows, and the keys and values of all tokens before
// it.  The bandwidth is that of summing a float32 tensor of 1 GiB, measured before and after (the larger one counts).
// usage: decode_bench MODEL_FOLDER|llama2-7b [cpu|cuda] [new tokens] [prompt length]... llama2-7b: random weights of
// that shape.  CSV to stdout: prompt, ms a token, tokens/s, bound tokens/s, their ratio, prefill s.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "config/registry.h"
#include "model/decode.h"
#include "ops/device.h"
#include "support/llama.h"

namespace qroar {
namespace {

using Clock = std::chrono::steady_clock;

/// On a shared machine the bandwidth changes from second to second: it is decoded again, so often at the most, where it
/// was this much larger on one side of the decoding than on the other.
constexpr int kTries = 5;
constexpr double kSteady = 1.1;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Best of several, bytes per second.
double read_bandwidth(const at::Tensor& x) {
  double best = 0;
  for (int i = 0; i < 8; ++i) {
    const auto start = Clock::now();
    x.sum().item<float>();
    best = std::max(best, static_cast<double>(x.nbytes()) / seconds_since(start));
  }
  return best;
}

LlamaConfig llama2_7b() {
  LlamaConfig config;
  config.vocab_size = 32000;
  config.hidden_size = 4096;
  config.intermediate_size = 11008;
  config.num_hidden_layers = 32;
  config.num_attention_heads = config.num_key_value_heads = 32;
  config.head_dim = 128;
  config.max_position_embeddings = config.trained_length = 4096;
  config.rms_norm_eps = 1e-5;
  return config;
}

double weight_bytes(Llama model) {
  double bytes = 0;
  model.each_linear([&](const Linear& linear) { bytes += static_cast<double>(linear.weight_OI.nbytes()); });
  return bytes;
}

int run(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: decode_bench MODEL_FOLDER|llama2-7b [cpu|cuda] [new tokens] [prompt length]...\n");
    return 1;
  }
  const c10::InferenceMode inference;
  const at::Device device = ops::parse_device(argc > 2 ? argv[2] : "auto");
  const int64_t count = argc > 3 ? std::stoll(argv[3]) : 64;
  std::vector<int64_t> lengths;
  for (int i = 4; i < argc; ++i) lengths.push_back(std::stoll(argv[i]));
  if (lengths.empty()) lengths = {128, 2048, 8192};
  const Llama model = std::string(argv[1]) == "llama2-7b" ? random_llama(llama2_7b(), at::kBFloat16, 1, device)
                                                          : Checkpoint(argv[1]).build(at::kBFloat16, device);
  const LlamaConfig& config = model.config;
  const at::Tensor read = at::ones({int64_t{1} << 28}, at::TensorOptions(device).dtype(at::kFloat));
  fmt::print("# {}; weights {:.0f} MB\nprompt,ms,tokens_per_second,read_gb_per_second,bound,ratio,prefill_seconds\n",
             ops::device_name(device), weight_bytes(model) / 1e6);
  const auto plain = Registry<RopeScheme>::instance().build(Config::parse("{type: none}", "decode_bench"));
  const RopeGeometry geometry = config.rope_geometry(config.trained_length);
  const auto table_of = [&](int64_t length) { return plain->table(geometry, length); };
  for (const int64_t length : lengths) {
    Decoder decoder(model, table_of, length + kTries * (count + 8), false);
    const at::Tensor tokens_T = at::randint(config.vocab_size, {length}, at::TensorOptions(device).dtype(at::kLong));
    const auto start = Clock::now();
    at::Tensor hidden_TD = decoder.append(tokens_T);
    ops::synchronize(device);
    const double prefill = seconds_since(start);
    const auto never = [](int64_t) { return false; };
    decoder.greedy(hidden_TD[-1], 4, never);  // warm
    double seconds = 0, bandwidth = 0, middle = 0;
    for (int i = 0; i < kTries; ++i) {
      hidden_TD = decoder.append(tokens_T.slice(0, 0, 1));
      middle = static_cast<double>(decoder.length()) + static_cast<double>(count) / 2;
      const double before = read_bandwidth(read);
      ops::synchronize(device);
      const auto decoding = Clock::now();
      decoder.greedy(hidden_TD[-1], count, never);
      seconds = seconds_since(decoding) / static_cast<double>(count - 1);  // forwards
      const double after = read_bandwidth(read);
      bandwidth = std::max(before, after);
      if (bandwidth < kSteady * std::min(before, after)) break;
    }
    const double cache =
        2.0 * 2 * middle * static_cast<double>(config.num_hidden_layers * config.num_key_value_heads * config.head_dim);
    const double bound = bandwidth / (weight_bytes(model) + cache);
    fmt::print("{},{:.3f},{:.1f},{:.1f},{:.1f},{:.3f},{:.3f}\n", length, seconds * 1e3, 1 / seconds, bandwidth / 1e9,
               bound, 1 / seconds / bound, prefill);
  }
  return 0;
}

}  // namespace
}  // namespace qroar

int main(int argc, char** argv) {
  try {
    return qroar::run(argc, argv);
  } catch (const qroar::Error& error) {
    fmt::print(stderr, "decode_bench: {}\n", error.what());
    return 1;
  }
}
