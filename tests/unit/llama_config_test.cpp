// config.json: what is read, what is assumed where a field is missing, and every error.
#include "model/llama_config.h"

#include <cstdlib>

#include "support/catch.h"
#include "support/data.h"
#include "support/errors.h"
#include "support/scratch.h"

using namespace qroar;

namespace {

using Json = nlohmann::ordered_json;

/// The smallest file that loads.
Json minimal() {
  return {{"model_type", "llama"},         {"vocab_size", 512},      {"hidden_size", 64},
          {"intermediate_size", 172},      {"num_hidden_layers", 5}, {"num_attention_heads", 8},
          {"max_position_embeddings", 512}};
}

LlamaConfig load(const Json& json) {
  const Scratch scratch;
  scratch.write("config.json", json.dump());
  return LlamaConfig::load(scratch.folder());
}

/// The error after changing one field.
std::string error_with(const std::string& name, const Json& value) {
  Json json = minimal();
  json[name] = value;
  return error_text([&] { load(json); });
}

std::string error_of_text(const std::string& text) {
  const Scratch scratch;
  scratch.write("config.json", text);
  return error_text([&] { LlamaConfig::load(scratch.folder()); });
}

}  // namespace

TEST_CASE("the tiny-books model's config.json is read") {
  const LlamaConfig config = LlamaConfig::load(std::filesystem::path(QROAR_SOURCE_DIR) / "configs/models/tiny-books");
  CHECK(config.vocab_size == 4096);
  CHECK(config.hidden_size == 256);
  CHECK(config.intermediate_size == 704);
  CHECK(config.num_hidden_layers == 5);
  CHECK(config.num_attention_heads == 4);
  CHECK(config.num_key_value_heads == 4);
  CHECK(config.head_dim == 64);
  CHECK(config.max_position_embeddings == 512);
  CHECK(config.trained_length == 512);
  CHECK(config.rms_norm_eps == 1e-5);
  CHECK(config.rope_theta == 10000);
  CHECK(config.tie_word_embeddings);
  CHECK(config.bos_token_id == 1);
  CHECK(config.rope == Json{{"type", "none"}});
}

TEST_CASE("the stories260k model's config.json is read when QROAR_DATA names it", "[data]") {
  const auto data = data_folder("the stories260k model's config.json");
  if (!data) return;
  const LlamaConfig config = LlamaConfig::load(*data / "models/stories260k");
  CHECK(config.num_attention_heads == 8);
  CHECK(config.num_key_value_heads == 4);
  CHECK(config.head_dim == 8);
  CHECK(config.vocab_size == 512);
  CHECK(config.trained_length == 512);
}

TEST_CASE("missing optional fields have Hugging Face's defaults, and null is missing") {
  Json with_nulls = minimal();
  for (const char* name : {"num_key_value_heads", "head_dim", "rms_norm_eps", "rope_theta", "rope_scaling",
                           "rope_parameters", "tie_word_embeddings", "attention_bias", "mlp_bias", "hidden_act"}) {
    with_nulls[name] = nullptr;
  }
  for (const Json& json : {minimal(), with_nulls}) {
    const LlamaConfig config = load(json);
    CHECK(config.num_key_value_heads == 8);
    CHECK(config.head_dim == 8);
    CHECK(config.rms_norm_eps == 1e-6);
    CHECK(config.rope_theta == 10000);
    CHECK(config.rope == Json{{"type", "none"}});
    CHECK(config.trained_length == 512);
    CHECK(!config.tie_word_embeddings);
    CHECK(!config.qkv_bias);
    CHECK(!config.o_bias);
    CHECK(!config.mlp_bias);
    CHECK(config.bos_token_id == 1);
  }
}

TEST_CASE("a bos_token_id of null is a model without BOS") {
  Json json = minimal();
  json["bos_token_id"] = nullptr;
  CHECK(!load(json).bos_token_id);
}

TEST_CASE("stated optional fields are read") {
  Json json = minimal();
  json.update({{"num_key_value_heads", 2},
               {"head_dim", 24},
               {"hidden_size", 60},
               {"rms_norm_eps", 1e-5},
               {"rope_theta", 500000},
               {"tie_word_embeddings", true},
               {"attention_bias", true},
               {"mlp_bias", true},
               {"bos_token_id", {7, 8}}});
  const LlamaConfig config = load(json);
  CHECK(config.num_key_value_heads == 2);
  CHECK(config.head_dim == 24);
  CHECK(config.hidden_size == 60);
  CHECK(config.rms_norm_eps == 1e-5);
  CHECK(config.rope_theta == 500000);
  CHECK(config.tie_word_embeddings);
  CHECK(config.qkv_bias);
  CHECK(config.o_bias);
  CHECK(config.mlp_bias);
  CHECK(config.bos_token_id == 7);
}

TEST_CASE("a missing, unreadable or malformed config.json is an error with file and line") {
  const Scratch scratch;
  const std::string missing = error_text([&] { LlamaConfig::load(scratch.folder()); });
  CHECK(contains(missing, (scratch.folder() / "config.json").string()));
  CHECK(contains(error_of_text("{\n \"vocab_size\": 512,\n oops}"), "config.json:3:"));
  CHECK(contains(error_of_text(""), "config.json:1:1: broken JSON"));
  CHECK(contains(error_of_text("{\"a\": \"\xff\"}"), "broken JSON"));
  CHECK(contains(error_of_text("{\"rms_norm_eps\": 1e999}"), "the number 1e999 is beyond what double holds"));
  CHECK(contains(error_of_text("[1]"), "config.json:1:1: is a JSON array, not an object"));
}

TEST_CASE("a missing required field is an error that names it and what is expected") {
  for (const char* name : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                           "max_position_embeddings", "model_type"}) {
    Json json = minimal();
    json.erase(name);
    const std::string text = error_text([&] { load(json); });
    CAPTURE(text);
    CHECK(contains(text, fmt::format("config.json: missing field '{}'; expected ", name)));
  }
}

TEST_CASE("a field of the wrong type or size is an error that shows it and what is expected") {
  CHECK(contains(error_with("num_hidden_layers", "5"),
                 "config.json: field 'num_hidden_layers' is \"5\"; expected an integer from 1 to 65536"));
  for (const Json& bad : {Json(0), Json(-1), Json(65537), Json(2.5), Json(1e30), Json(UINT64_MAX), Json(INT64_MIN),
                          Json({1}), Json(true)}) {
    CAPTURE(bad.dump());
    CHECK(contains(error_with("num_hidden_layers", bad), "field 'num_hidden_layers' is " + bad.dump()));
  }
  CHECK(contains(error_with("vocab_size", 1 << 25), "expected an integer from 1 to 16777216"));
  CHECK(contains(error_with("max_position_embeddings", int64_t{1} << 32), "expected an integer from 2 to 2147483648"));
  CHECK(contains(error_with("rms_norm_eps", 0), "field 'rms_norm_eps' is 0; expected a number above 0 and up to 1"));
  CHECK(contains(error_with("rms_norm_eps", "1e-5"), "field 'rms_norm_eps' is \"1e-5\"; expected a number"));
  CHECK(contains(error_with("rope_theta", 1), "field 'rope_theta' is 1; expected a number above 1"));
  CHECK(contains(error_with("tie_word_embeddings", 1), "field 'tie_word_embeddings' is 1; expected true or false"));
  CHECK(contains(error_with("rope_scaling", "yarn"), "field 'rope_scaling' is \"yarn\"; expected an object"));
  CHECK(contains(error_with("bos_token_id", 512), "field 'bos_token_id' is 512; expected an integer from 0 to 511"));
  CHECK(contains(error_with("bos_token_id", Json::array()), "field 'bos_token_id' is []"));
  CHECK(contains(error_with("bos_token_id", {600, 1}), "field 'bos_token_id' is [600,1]; expected an integer from 0"));
}

TEST_CASE("sizes that do not fit each other are errors with both numbers") {
  CHECK(contains(error_with("num_key_value_heads", 3),
                 "num_attention_heads (8) must be a multiple of num_key_value_heads (3)"));
  CHECK(contains(error_with("hidden_size", 60), "hidden_size (60) must be a multiple of num_attention_heads (8)"));
  CHECK(contains(error_with("hidden_size", 56), "head_dim (7) must be even"));
  CHECK(contains(error_with("head_dim", 9), "head_dim (9) must be even"));
  CHECK(contains(error_with("hidden_size", 8 << 17), "head_dim (131072) must be even and at most 65536"));
}

TEST_CASE("a model of no known family is refused with those that are known") {
  CHECK(contains(error_with("model_type", "gemma2"),
                 "a \"gemma2\" model; the families that are evaluated here have model_type granite, llama, mistral"));
  CHECK(!contains(error_with("model_type", "gemma2"), "expected"));  // nobody is told to write llama there
  CHECK(contains(error_with("hidden_act", "gelu"),
                 "field 'hidden_act' is \"gelu\"; expected \"silu\", the only one supported"));
}

TEST_CASE("a part of each head is rotated where the family knows the factor") {
  Json json = minimal();
  CHECK(load(json).rotary_dim() == 8);
  json["partial_rotary_factor"] = 0.5;
  CHECK(load(json).rotary_dim() == 4);
  CHECK(load(json).pairs() == 2);
  CHECK(contains(load(json).warnings.at(0), "rotates the first 4 channels of 8"));
  json["rope_parameters"] = {{"rope_type", "default"}, {"partial_rotary_factor", 0.25}};
  CHECK(load(json).rotary_dim() == 2);
  CHECK(contains(error_with("partial_rotary_factor", 0.4), "rotates 3 channels; expected an even number"));
  json["model_type"] = "qwen2";
  CHECK(contains(error_text([&] { load(json); }), "RoPE rotates whole heads in a model of type qwen2"));
}

TEST_CASE("families read their own keys and defaults, layer by layer") {
  const auto read = [](const char* family, const Json& more = Json::object()) {
    Json json = minimal();
    json["num_hidden_layers"] = 4;
    json["model_type"] = family;
    json.update(more);
    return load(json);
  };
  const auto windows = [](const LlamaConfig& config) {
    std::vector<int64_t> found;
    for (const LayerConfig& layer : config.layers) found.push_back(layer.attention.sliding_window);
    return found;
  };
  const auto rope = [](const LlamaConfig& config) {
    std::vector<bool> found;
    for (const LayerConfig& layer : config.layers) found.push_back(layer.rope);
    return found;
  };
  using Windows = std::vector<int64_t>;
  CHECK(windows(read("mistral")) == Windows{4096, 4096, 4096, 4096});
  CHECK(windows(read("mistral", {{"sliding_window", nullptr}})) == Windows(4));
  CHECK(windows(read("qwen2", {{"sliding_window", 7}})) == Windows(4));
  CHECK(windows(read("qwen2", {{"sliding_window", 7}, {"use_sliding_window", true}})) == Windows(4));
  CHECK(windows(read("qwen2", {{"sliding_window", 7}, {"use_sliding_window", true}, {"max_window_layers", 3}})) ==
        Windows{0, 0, 0, 7});
  const Json types{"sliding_attention", "full_attention", "full_attention", "sliding_attention"};
  CHECK(windows(read("qwen3", {{"use_sliding_window", true}, {"layer_types", types}})) == Windows{4096, 0, 0, 4096});
  CHECK(rope(read("smollm3", {{"bos_token_id", 1}})) == std::vector<bool>{true, true, true, false});
  CHECK(rope(read("smollm3", {{"bos_token_id", 1}, {"no_rope_layers", {0, 1, 1, 0}}})) ==
        std::vector<bool>{false, true, true, false});
  CHECK(read("smollm3", {{"vocab_size", 128256}}).rope_theta == 2e6);
  CHECK(read("qwen3").head_dim == 128);
  CHECK(read("qwen3").qk_norm);
  CHECK(!read("qwen3").bos_token_id);
  const LlamaConfig qwen2 = read("qwen2");
  CHECK(qwen2.qkv_bias);
  CHECK(!qwen2.o_bias);
  const LlamaConfig granite = read("granite", {{"attention_multiplier", 0.5}, {"logits_scaling", 8}});
  CHECK(granite.layers[3].attention.scaling == 0.5);
  CHECK(granite.logits_scaling == 8);
  CHECK(granite.residual_multiplier == 1);
}

TEST_CASE("whole numbers may be written as floats") {
  Json json = minimal();
  json["num_hidden_layers"] = 5.0;
  json["max_position_embeddings"] = 4096.0;
  CHECK(load(json).num_hidden_layers == 5);
  CHECK(load(json).max_position_embeddings == 4096);
}

TEST_CASE("an already quantized checkpoint is refused with its method") {
  const std::string text = error_with("quantization_config", {{"quant_method", "gptq"}, {"bits", 4}});
  CHECK(contains(text, "config.json: 'quantization_config' says that the weights are already quantized"));
  CHECK(contains(text, "quant_method \"gptq\""));
  CHECK(contains(error_with("compression_config", {{"format", "dense"}}), "quant_method \"unnamed\""));
  Json json = minimal();
  json["quantization_config"] = nullptr;
  CHECK(load(json).warnings.empty());
}

TEST_CASE("keys that ask for another forward are refused unless they say what is done here") {
  const std::vector<std::pair<const char*, Json>> changing = {{"embedding_multiplier", 12.0},
                                                              {"residual_multiplier", 0.22},
                                                              {"logits_scaling", 8},
                                                              {"attention_multiplier", 0.0078125},
                                                              {"lm_head_multiplier", 0.5},
                                                              {"attn_logit_softcapping", 50.0},
                                                              {"final_logit_softcapping", 30},
                                                              {"query_pre_attn_scalar", 256},
                                                              {"no_rope_layers", {1, 1, 0}},
                                                              {"layer_types", {"full_attention", "sliding_attention"}},
                                                              {"rotary_pct", 0.25},
                                                              {"logn_attention", true},
                                                              {"use_logn_attn", true},
                                                              {"num_local_experts", 8},
                                                              {"qk_norm", true},
                                                              {"attention_chunk_size", 8192},
                                                              {"scale_emb", 12},
                                                              {"alibi", true},
                                                              {"rope_interleaved", true},
                                                              {"bias", true}};
  for (const auto& [key, value] : changing) {
    CAPTURE(key);
    CHECK(contains(error_with(key, value),
                   fmt::format("field '{}' is {}; expected a model without it", key, value.dump())));
  }
  const std::vector<std::pair<const char*, Json>> neutral = {{"embedding_multiplier", 1.0},
                                                             {"attention_multiplier", 0.35355339},
                                                             {"attn_logit_softcapping", nullptr},
                                                             {"query_pre_attn_scalar", 8},
                                                             {"no_rope_layers", {1, 1, 1}},
                                                             {"layer_types", {"full_attention"}},
                                                             {"rotary_pct", 1.0},
                                                             {"num_local_experts", 0},
                                                             {"qk_norm", false},
                                                             {"rope_interleaved", false},
                                                             {"bias", false},
                                                             {"logits_scaling", 1}};
  for (const auto& [key, value] : neutral) {
    Json json = minimal();
    json[key] = value;
    CAPTURE(key);
    CHECK(load(json).warnings.empty());
  }
}

TEST_CASE("harmless keys pass, and all others are named in one warning") {
  Json json = minimal();
  json.update({{"architectures", {"LlamaForCausalLM"}},
               {"_name_or_path", "x"},
               {"attention_dropout", 0.1},
               {"pretraining_tp", 2},
               {"use_cache", true},
               {"transformers_version", "5.17.0"}});
  CHECK(load(json).warnings.empty());
  json["novel_gate"] = 3;
  json["auto_map"] = {{"AutoModelForCausalLM", "modeling.py"}};
  const auto warnings = load(json).warnings;
  REQUIRE(warnings.size() == 1);
  CHECK(contains(warnings[0], "not known here and were not acted on: novel_gate, auto_map"));
}

TEST_CASE("a sliding window is what config.json says, unless it is switched off") {
  Json json = minimal();
  CHECK(!load(json).doubtful_window);
  json["sliding_window"] = 128;
  CHECK(load(json).doubtful_window == 128);
  json["use_sliding_window"] = false;
  CHECK(!load(json).doubtful_window);
}
