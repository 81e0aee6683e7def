// An exported folder holds what the model computes, read back by our own reader; folders that are not ours stay.
#include "checkpoint/export.h"

#include <set>

#include "base/files.h"
#include "checkpoint/checkpoint.h"
#include "model/angles.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/llama.h"
#include "support/rope.h"
#include "support/scratch.h"
#include "support/size_limit.h"

namespace qroar {
namespace {

constexpr int64_t kLength = 256;  // four times what small_llama_config() is trained for

Json config_fields(const LlamaConfig& config) {
  return {{"model_type", "llama"},
          {"vocab_size", config.vocab_size},
          {"hidden_size", config.hidden_size},
          {"intermediate_size", config.intermediate_size},
          {"num_hidden_layers", config.num_hidden_layers},
          {"num_attention_heads", config.num_attention_heads},
          {"num_key_value_heads", config.num_key_value_heads},
          {"head_dim", config.head_dim},
          {"max_position_embeddings", config.max_position_embeddings},
          {"rms_norm_eps", config.rms_norm_eps},
          {"tie_word_embeddings", config.tie_word_embeddings},
          {"attention_bias", config.o_bias},
          {"mlp_bias", config.mlp_bias},
          {"torch_dtype", "float16"},
          {"pad_token_id", 7}};
}

/// A model, the folder that it came from (config.json alone) and the table that it is evaluated with.
struct Fixture {
  explicit Fixture(const LlamaConfig& own = small_llama_config(), at::ScalarType dtype = at::kFloat)
      : config(own), model(random_llama(own, dtype, 5)) {
    if (config.tie_word_embeddings) model.lm_head.weight_OI = model.embed_tokens_VD;
    write_source(config_fields(config));
  }

  void write_source(const Json& fields) const { scratch.write("source/config.json", fields.dump()); }
  RopeGeometry geometry(int64_t length = kLength) const { return {config.head_dim, config.rope_theta, 64, length}; }
  void write(const std::string& yaml = "{type: yarn, factor: 4}", int64_t length = kLength) const {
    const auto scheme = make_scheme(yaml);
    const auto table_of = [&](int64_t tokens) { return scheme->table(geometry(length), tokens); };
    export_model(model, {*scheme, geometry(length), 64, table_of}, source, out, {{"commit", "abc"}});
  }
  Json out_config() const { return Json::parse(read_file(out / "config.json")); }

  Scratch scratch;
  std::filesystem::path source = scratch.folder() / "source";
  std::filesystem::path out = scratch.folder() / "exports/out";
  LlamaConfig config;
  Llama model;
};

std::set<std::string> names_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

void check_equal(Llama found, Llama expected) {
  const auto check_tensor = [](const at::Tensor& a, const at::Tensor& b, const std::string& name) {
    CAPTURE(name);
    REQUIRE(a.defined() == b.defined());
    if (!a.defined()) return;
    CHECK(a.scalar_type() == b.scalar_type());
    CHECK(at::equal(a, b));
  };
  check_tensor(found.embed_tokens_VD, expected.embed_tokens_VD, "embed_tokens");
  check_tensor(found.norm_D, expected.norm_D, "norm");
  REQUIRE(found.layers.size() == expected.layers.size());
  for (std::size_t i = 0; i < found.layers.size(); ++i) {
    check_tensor(found.layers[i].input_norm_D, expected.layers[i].input_norm_D, "input_layernorm");
    check_tensor(found.layers[i].post_attention_norm_D, expected.layers[i].post_attention_norm_D, "post_attention");
  }
  std::vector<Linear> linears;
  expected.each_linear([&](const Linear& linear) { linears.push_back(linear); });
  std::size_t next = 0;
  found.each_linear([&](const Linear& linear) {
    check_tensor(linear.weight_OI, linears[next].weight_OI, linear.site);
    check_tensor(linear.bias_O, linears[next++].bias_O, linear.site + ".bias");
  });
}

}  // namespace

TEST_CASE("an exported folder read back has the same tensors bit for bit, whatever heads, tying, biases and dtype") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    for (const int64_t kv_heads : {4, 2}) {
      for (const bool tied : {false, true}) {
        for (const bool bias : {false, true}) {
          CAPTURE(dtype, kv_heads, tied, bias);
          LlamaConfig config = small_llama_config();
          config.num_key_value_heads = kv_heads;
          config.tie_word_embeddings = tied;
          config.qkv_bias = config.o_bias = config.mlp_bias = bias;
          const Fixture own(config, dtype);
          own.write();
          const Checkpoint checkpoint(own.out);
          CHECK(checkpoint.config().tie_word_embeddings == tied);
          CHECK(open_safetensors(own.out).has("lm_head.weight") == !tied);
          check_equal(checkpoint.build(dtype, at::kCPU), own.model);
        }
      }
    }
  }
}

TEST_CASE("a tied model with a head of its own becomes an untied one, and one that shares becomes tied") {
  LlamaConfig config = small_llama_config();
  config.tie_word_embeddings = true;
  Fixture own(config);
  own.model.lm_head.weight_OI = own.model.embed_tokens_VD * 2;
  own.write();
  CHECK(own.out_config()["tie_word_embeddings"] == false);
  check_equal(Checkpoint(own.out).build(at::kFloat, at::kCPU), own.model);

  Fixture shared;
  shared.model.lm_head.weight_OI = shared.model.embed_tokens_VD;
  shared.write();
  CHECK(shared.out_config()["tie_word_embeddings"] == true);
  check_equal(Checkpoint(shared.out).build(at::kFloat, at::kCPU), shared.model);
}

TEST_CASE("weights that are no contiguous tensors are exported in their order") {
  Fixture own;
  Linear& layer = own.model.layers[1].o_proj;  // square
  layer.weight_OI = layer.weight_OI.t();
  own.write();
  check_equal(Checkpoint(own.out).build(at::kFloat, at::kCPU), own.model);
}

TEST_CASE("the exported config.json gives the same frequencies and attention factor at any length") {
  const Fixture own;
  for (const char* yaml :
       {"{type: linear, factor: 4}", "{type: ntk, factor: 4}", "{type: yarn, factor: 4}", "{type: none}",
        "{type: dynamic_ntk, factor: 2}",
        "{type: llama3, factor: 4, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64}",
        "{type: longrope, factor: 4, short_factor: [1, 1, 1, 1, 1, 1, 1, 2], long_factor: [1, 1, 2, 2, 3, 3, 4, 4]}"}) {
    CAPTURE(yaml);
    own.write(yaml);
    const LlamaConfig read = LlamaConfig::load(own.out);
    for (const int64_t length : {32, 64, 65, 256, 1000}) {
      CAPTURE(length);
      const RopeTable expected = make_scheme(yaml)->table(own.geometry(), length);
      const RopeTable found = make_scheme("{type: model}")->table(read.rope_geometry(length), length);
      CHECK(found.attention_factor == expected.attention_factor);
      REQUIRE(found.inv_freq.size() == 8);
      for (std::size_t i = 0; i < found.inv_freq.size(); ++i) {
        // A division and its inverse: two roundings.
        CHECK(found.inv_freq[i] == Approx(expected.inv_freq[i]).epsilon(4e-16));
      }
    }
  }
}

TEST_CASE("a pair that does not turn has the cos and sin of one after the export") {
  const Fixture own;
  const auto linear = make_scheme("{type: linear, factor: 4}");
  const auto table_of = [&](int64_t length) {
    RopeTable table = linear->table(own.geometry(), length);
    table.inv_freq.back() = 0;
    return table;
  };
  export_model(own.model, {*linear, own.geometry(), 64, table_of}, own.source, own.out);
  CHECK(own.out_config()["rope_scaling"]["rope_type"] == "longrope");
  const LlamaConfig read = LlamaConfig::load(own.out);
  const RopeTable found = make_scheme("{type: model}")->table({16, read.rope_theta, 64, kLength, read.rope}, kLength);
  const auto angles = rope_angles(found, 1 << 20, at::kFloat, at::kCPU, false);
  CHECK((angles.cos_TP.select(1, 7) == 1).all().item<bool>());
  CHECK(angles.sin_TP.select(1, 7).abs().max().item<float>() < 1e-20);
}

TEST_CASE("config.json is the source's with what the export changes, in spellings that transformers 4 and 5 read") {
  const Fixture own;
  Json fields = config_fields(own.config);
  fields["dtype"] = "float16";
  fields["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 10000.0}};
  fields["original_max_position_embeddings"] = 32;
  own.write_source(fields);
  own.write();
  const Json config = own.out_config();
  for (const char* gone : {"dtype", "rope_parameters", "original_max_position_embeddings"}) {
    CHECK_FALSE(config.contains(gone));
  }
  CHECK(config["pad_token_id"] == 7);
  CHECK_FALSE(config.contains("architectures"));  // as in the source
  CHECK(config["torch_dtype"] == "float32");
  CHECK(config["max_position_embeddings"] == 256);
  CHECK(config["rope_theta"] == 10000.0);
  CHECK(config["rope_scaling"]["rope_type"] == "yarn");

  own.write("{type: none}");
  CHECK_FALSE(own.out_config().contains("rope_scaling"));
  own.write("{type: none}", 16);
  CHECK(own.out_config()["max_position_embeddings"] == 64);
}

TEST_CASE("tokenizer files and generation_config.json come along, other files do not") {
  const Fixture own;
  own.scratch.write("source/tokenizer.model", std::string("a\0b", 3));
  own.scratch.write("source/tokenizer_config.json", "{}");
  own.scratch.write("source/generation_config.json", "{}");
  own.scratch.write("source/model.safetensors.index.json", "{}");
  own.write();
  CHECK(names_in(own.out) == std::set<std::string>{"config.json", "generation_config.json", "model.safetensors",
                                                   "qroar_export.json", "tokenizer.model", "tokenizer_config.json"});
  CHECK(read_file(own.out / "tokenizer.model") == std::string("a\0b", 3));
  const Json marker = Json::parse(read_file(own.out / "qroar_export.json"));
  CHECK(marker["source"] == (own.scratch.folder() / "source").string());
  CHECK(marker["provenance"] == Json{{"commit", "abc"}});
}

TEST_CASE("an earlier export is replaced as a whole, and the source may be it") {
  Fixture own;
  own.scratch.write("source/tokenizer.model", "t");
  own.write();
  own.model.norm_D = own.model.norm_D * 2;
  own.write("{type: none}");
  check_equal(Checkpoint(own.out).build(at::kFloat, at::kCPU), own.model);

  const Llama before = own.model;
  const Llama mapped = Checkpoint(own.out).build(at::kFloat, at::kCPU);  // views of the files that are replaced
  own.model = mapped;
  own.source = own.out;
  own.out += "/";
  own.write("{type: none}", 64);
  check_equal(Checkpoint(own.source).build(at::kFloat, at::kCPU), before);
  CHECK(read_file(own.source / "tokenizer.model") == "t");
  CHECK(names_in(own.source.parent_path()) == std::set<std::string>{"out"});
}

TEST_CASE("a folder with anything of the user's in it is not touched") {
  const Fixture own;
  const std::string out = own.out.string();
  SECTION("a folder that no export made") {
    own.scratch.write("exports/out/config.json", "mine");
    CHECK(error_text([&] { own.write(); }) ==
          out + ": not replaced, since 'config.json' in it is of no earlier export; name a new or an empty folder");
    CHECK(read_file(own.out / "config.json") == "mine");
  }
  SECTION("an earlier export with another file") {
    own.write();
    own.scratch.write("exports/out/notes.md", "mine");
    CHECK(contains(error_text([&] { own.write(); }), "'notes.md' in it is of no earlier export"));
    CHECK(read_file(own.out / "notes.md") == "mine");
  }
  SECTION("a marker that is none of ours") {
    for (const char* marker : {"", "[]", R"({"files": "qroar_export.json"})", R"({"files": [1]})"}) {
      own.scratch.write("exports/out/qroar_export.json", marker);
      CHECK(contains(error_text([&] { own.write(); }), "'qroar_export.json' in it is of no earlier export"));
      CHECK(read_file(own.out / "qroar_export.json") == marker);
    }
  }
  SECTION("a folder under the name of one of our files") {
    own.write();
    std::filesystem::remove(own.out / "config.json");
    own.scratch.write("exports/out/config.json/mine", "mine");
    CHECK(contains(error_text([&] { own.write(); }), "'config.json' in it is of no earlier export"));
  }
  SECTION("a file") {
    own.scratch.write("exports/out", "mine");
    CHECK(error_text([&] { own.write(); }) == out + ": is a file; name a folder to export to");
    CHECK(read_file(own.out) == "mine");
  }
}

TEST_CASE("an empty folder and a link to a folder are filled") {
  Fixture own;
  std::filesystem::create_directories(own.out);
  own.write();
  CHECK(names_in(own.out).contains("config.json"));
  std::filesystem::create_directory(own.scratch.folder() / "elsewhere");
  const std::filesystem::path link = own.scratch.folder() / "link";
  std::filesystem::create_directory_symlink("elsewhere", link);
  own.out = link;
  own.write();
  CHECK(std::filesystem::is_symlink(link));
  CHECK(names_in(own.scratch.folder() / "elsewhere").contains("config.json"));
}

TEST_CASE("an export that fails on its way leaves the earlier one and nothing else") {
  Fixture own;
  own.write();
  const Llama before = own.model;
  own.model.norm_D = own.model.norm_D * 2;
  std::string text;
  SECTION("the disk is full") {
    const SizeLimit limit(1 << 14);
    text = error_text([&] { own.write(); });
    CHECK(contains(text, "model.safetensors: cannot write: File too large"));
  }
  SECTION("the source has no readable config.json") {
    own.scratch.write("source/config.json", "[");
    text = error_text([&] { own.write(); });
    CHECK(text == (own.scratch.folder() / "source/config.json").string() + ":1:1: is a JSON array, not an object");
  }
  check_equal(Checkpoint(own.out).build(at::kFloat, at::kCPU), before);
  CHECK(names_in(own.out.parent_path()) == std::set<std::string>{"out"});
}

TEST_CASE("a parent that nobody may write into is one Error") {
  Fixture own;
  own.out = "/proc/out";  // stops root, too
  CHECK(contains(error_text([&] { own.write(); }), "cannot create"));
}

}  // namespace qroar
