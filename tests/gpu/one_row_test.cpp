// On a device: what decoding runs for one token, against the definitions in float64 and against itself.
#include "ops/decode/cuda.h"
#include "support/catch.h"
#include "support/decode.h"
#include "support/error_bounds.h"
#include "support/llama.h"
#include "support/rope.h"

namespace qroar {
namespace {

constexpr at::ScalarType kDtypes[] = {at::kFloat, at::kHalf, at::kBFloat16};

/// Undefined where x is.
at::Tensor wide(const at::Tensor& x) { return x.defined() ? x.to(at::kDouble) : x; }

at::Tensor random(at::IntArrayRef shape, at::ScalarType dtype) {
  return at::randn(shape, at::TensorOptions(at::kCUDA).dtype(at::kFloat)).to(dtype);
}

ops::Weights random_weights(int64_t rows, int64_t inputs, at::ScalarType dtype, bool has_bias) {
  const auto draw = [&](at::IntArrayRef shape) { return random(shape, dtype); };
  return {draw({rows, inputs}), has_bias ? draw({rows}) : at::Tensor()};
}

Llama converted(Llama model, const std::function<at::Tensor(const at::Tensor&)>& convert) {
  const auto one = [&](at::Tensor& x) { x = x.defined() ? convert(x) : x; };
  one(model.embed_tokens_VD);
  one(model.norm_D);
  model.each_linear([&](Linear& linear) {
    one(linear.weight_OI);
    one(linear.bias_O);
  });
  for (DecoderLayer& layer : model.layers) {
    one(layer.input_norm_D);
    one(layer.post_attention_norm_D);
  }
  return model;
}

}  // namespace

TEST_CASE("a row's linear layers on the GPU agree with the definition, together and alone", "[gpu]") {
  at::manual_seed(11);
  for (const auto dtype : kDtypes) {
    // Inputs of one chunk, of no whole batch, of several, and too long for shared memory in float32.
    for (const int64_t inputs : {8, 64, 576, 1024, 4096, 4104, 11008, 28672}) {
      for (const int64_t rows : {3, 7, 1300}) {
        INFO(at::toString(dtype) << " " << rows << " x " << inputs);
        const at::Tensor x_1I = random({1, inputs}, dtype);
        const std::vector<ops::Weights> layers{random_weights(rows, inputs, dtype, false),
                                               random_weights(3, inputs, dtype, true),
                                               random_weights(rows + 2, inputs, dtype, rows == 7)};
        CHECK(ops::cuda::supports_row_linear(x_1I, layers) == (inputs * x_1I.element_size() <= 65536));
        const std::vector<at::Tensor> found = ops::linears(x_1I, layers);
        for (std::size_t i = 0; i < layers.size(); ++i) {
          const auto& [weight_OI, bias_O] = layers[i];
          CHECK(relative_error(found[i], ops::reference::linear(wide(x_1I), wide(weight_OI), wide(bias_O))) <
                tolerance(dtype));
          CHECK(at::equal(found[i], ops::linear(x_1I, weight_OI, bias_O)));
        }
      }
    }
    // What no chunk divides goes another way.
    const at::Tensor odd_1I = random({1, 30}, dtype);
    const ops::Weights odd = random_weights(9, 30, dtype, true);
    CHECK_FALSE(ops::cuda::supports_row_linear(odd_1I.slice(1, 1), {{odd.weight_OI.slice(1, 1), odd.bias_O}}));
    CHECK(relative_error(ops::linear(odd_1I, odd.weight_OI, odd.bias_O),
                         ops::reference::linear(wide(odd_1I), wide(odd.weight_OI), wide(odd.bias_O))) <
          tolerance(dtype));
  }
}

TEST_CASE("a query by itself on the GPU agrees with the definition", "[gpu]") {
  at::manual_seed(12);
  struct Heads {
    int64_t heads, kv_heads, dim;
  };
  for (const auto dtype : kDtypes) {
    for (const auto& [heads, kv_heads, dim] : {Heads{9, 3, 64}, Heads{4, 4, 128}, Heads{5, 1, 32}}) {
      for (const int64_t N : {1, 5, 31, 127, 128, 129, 513, 3000}) {
        INFO(at::toString(dtype) << " " << heads << "/" << kv_heads << " heads of " << dim << ", " << N << " keys");
        const auto draw = [&](at::IntArrayRef shape) { return random(shape, dtype) * 2; };
        const at::Tensor q_1Hd = draw({1, heads, dim});
        // As a cache has them, with room behind; what lies there must not count.
        const auto cache = [&] {
          at::Tensor x_KCd = draw({kv_heads, N + 9, dim});
          x_KCd.slice(1, N).fill_(std::nan(""));
          return x_KCd.transpose(0, 1).slice(0, 0, N);
        };
        const at::Tensor k_NKd = cache(), v_NKd = cache();
        REQUIRE(ops::cuda::supports_row_attention(q_1Hd, k_NKd, v_NKd));
        CHECK(relative_error(ops::causal_attention(q_1Hd, k_NKd, v_NKd),
                             ops::reference::causal_attention(wide(q_1Hd), wide(k_NKd), wide(v_NKd))) <
              tolerance(dtype));
        v_NKd[N / 2][0][3] = std::nan("");
        const at::Tensor seen = ops::causal_attention(q_1Hd, k_NKd, v_NKd).isnan();
        CHECK(seen.sum().item<int64_t>() == heads / kv_heads);  // one channel of the heads that read it
      }
    }
  }
}

TEST_CASE("a layer of one token on the GPU has the bits of its ops one after another", "[gpu]") {
  LlamaConfig llama = small_llama_config();
  llama.vocab_size = 512;
  llama.qkv_bias = llama.o_bias = llama.mlp_bias = true;
  struct Shape {
    int64_t hidden, heads, kv_heads, dim, intermediate;
  };
  // The last one is no kernel's.
  for (const auto& [hidden, heads, kv_heads, dim, intermediate] :
       {Shape{64, 9, 3, 64, 96}, Shape{576, 9, 3, 64, 1536}, Shape{96, 2, 2, 128, 64}, Shape{1032, 5, 1, 32, 2056},
        Shape{80, 5, 1, 16, 96}}) {
    llama.hidden_size = hidden;
    llama.num_attention_heads = heads;
    llama.num_key_value_heads = kv_heads;
    llama.head_dim = dim;
    llama.intermediate_size = intermediate;
    const Scheme scheme{make_scheme("{type: yarn, factor: 2}"), llama};
    const TableOf table_of = [&](int64_t length) { return scheme.table(length); };
    at::manual_seed(5);
    const at::Tensor tokens_T = at::randint(llama.vocab_size, {300}, at::kLong);
    const Llama drawn = random_llama(llama, at::kDouble, 3);
    for (const auto dtype : kDtypes) {
      INFO(at::toString(dtype) << ", hidden size " << hidden);
      const Llama model = converted(drawn, [&](const at::Tensor& x) { return x.to(at::kCUDA, dtype); });
      const at::Tensor exact_TD =
          forward(converted(model, [](const at::Tensor& x) { return x.to(at::kCPU, at::kDouble); }), tokens_T,
                  scheme.angles(300));
      const at::Tensor found_TD = decoded_states(model, table_of, tokens_T.to(at::kCUDA), 200);
      CHECK(at::equal(found_TD, decoded_states(op_by_op(model), table_of, tokens_T.to(at::kCUDA), 200)));
      CHECK(at::equal(found_TD, decoded_states(model, table_of, tokens_T.to(at::kCUDA), 200)));
      // Two layers' roundings.
      CHECK(relative_error(found_TD, exact_TD) < 4 * tolerance(dtype));
    }
  }
}

}  // namespace qroar
