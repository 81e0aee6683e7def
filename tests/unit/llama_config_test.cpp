// config.json: what is read, what is assumed where a field is missing, and every error.
#include "model/llama_config.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

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
  CHECK(config.rope_scaling.empty());
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
  for (const char* name :
       {"num_key_value_heads", "head_dim", "rms_norm_eps", "rope_theta", "rope_scaling", "rope_parameters",
        "tie_word_embeddings", "attention_bias", "mlp_bias", "hidden_act"}) {
    with_nulls[name] = nullptr;
  }
  for (const Json& json : {minimal(), with_nulls}) {
    const LlamaConfig config = load(json);
    CHECK(config.num_key_value_heads == 8);
    CHECK(config.head_dim == 8);
    CHECK(config.rms_norm_eps == 1e-6);
    CHECK(config.rope_theta == 10000);
    CHECK(config.rope_scaling.empty());
    CHECK(config.trained_length == 512);
    CHECK(!config.tie_word_embeddings);
    CHECK(!config.attention_bias);
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
  CHECK(config.attention_bias);
  CHECK(config.mlp_bias);
  CHECK(config.bos_token_id == 7);
}

TEST_CASE("both spellings of rope scaling are kept as JSON text") {
  const Json scaling = {{"type", "yarn"}, {"factor", 16.0}, {"original_max_position_embeddings", 128}};
  Json json = minimal();
  json["rope_scaling"] = scaling;
  CHECK(load(json).rope_scaling == scaling.dump());
  CHECK(load(json).trained_length == 128);

  json = minimal();
  json["rope_theta"] = 777;
  json["rope_parameters"] = {{"rope_type", "linear"}, {"rope_theta", 250000.0}, {"factor", 2.0}};
  CHECK(load(json).rope_scaling == json["rope_parameters"].dump());
  CHECK(load(json).rope_theta == 250000);
  CHECK(load(json).trained_length == 512);
}

TEST_CASE("rope parameters of type default say no more than the base") {
  Json json = minimal();
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 250000.0}};
  CHECK(load(json).rope_scaling.empty());
  CHECK(load(json).rope_theta == 250000);
  json["rope_parameters"].erase("rope_type");
  CHECK(load(json).rope_scaling.empty());
}

TEST_CASE("a factor left out beside the original length is the quotient of the lengths") {
  Json json = minimal();
  json["original_max_position_embeddings"] = 128;
  json["rope_scaling"] = {{"type", "longrope"}, {"long_factor", {1, 1, 1, 1}}};
  const LlamaConfig config = load(json);
  CHECK(config.trained_length == 128);
  CHECK(Json::parse(config.rope_scaling)["factor"] == 4.0);
}

TEST_CASE("a missing, unreadable or malformed config.json is an error with file and line") {
  const Scratch scratch;
  const std::string missing = error_text([&] { LlamaConfig::load(scratch.folder()); });
  CHECK(contains(missing, (scratch.folder() / "config.json").string()));
  CHECK(contains(error_of_text("{\n \"vocab_size\": 512,\n oops}"),
                 "config.json: not valid JSON: parse error at line 3, column"));
  CHECK(contains(error_of_text(""), "config.json: not valid JSON: parse error at line 1, column 1"));
  CHECK(contains(error_of_text("{\"a\": \"\xff\"}"), "not valid JSON"));
  CHECK(contains(error_of_text("{\"rms_norm_eps\": 1e999}"), "not valid JSON: number overflow"));
  CHECK(contains(error_of_text("[1]"), "config.json: expected a JSON object, found array"));
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
  for (const Json& bad :
       {Json(0), Json(-1), Json(65537), Json(2.0), Json(UINT64_MAX), Json(INT64_MIN), Json({1}), Json(true)}) {
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
  CHECK(contains(error_with("rope_scaling", {{"factor", 2.0}}), "rope_scaling: missing field 'rope_type'"));
  CHECK(contains(error_with("bos_token_id", 512), "field 'bos_token_id' is 512; expected an integer from 0 to 511"));
  CHECK(contains(error_with("bos_token_id", Json::array()), "field 'bos_token_id' is []"));
}

TEST_CASE("sizes that do not fit each other are errors with both numbers") {
  CHECK(contains(error_with("num_key_value_heads", 3),
                 "num_attention_heads (8) must be a multiple of num_key_value_heads (3)"));
  CHECK(contains(error_with("hidden_size", 60), "hidden_size (60) must be a multiple of num_attention_heads (8)"));
  CHECK(contains(error_with("hidden_size", 56), "head_dim (7) must be even"));
  CHECK(contains(error_with("head_dim", 9), "head_dim (9) must be even"));
  CHECK(contains(error_with("hidden_size", 8 << 17), "head_dim (131072) must be even and at most 65536"));
}

TEST_CASE("a model that is no Llama is refused with what is supported") {
  CHECK(contains(error_with("model_type", "mistral"),
                 "field 'model_type' is \"mistral\"; expected \"llama\", the only one supported"));
  CHECK(contains(error_with("hidden_act", "gelu"),
                 "field 'hidden_act' is \"gelu\"; expected \"silu\", the only one supported"));
  CHECK(contains(error_with("partial_rotary_factor", 0.5), "field 'partial_rotary_factor' is 0.5; expected 1"));
  CHECK(contains(error_with("rope_parameters", {{"partial_rotary_factor", 0.5}}),
                 "config.json: rope_parameters: field 'partial_rotary_factor' is 0.5; expected 1"));
}

TEST_CASE("rope_scaling and rope_parameters that differ are an error") {
  Json json = minimal();
  json["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
  json["rope_parameters"] = json["rope_scaling"];
  CHECK(load(json).rope_scaling == json["rope_scaling"].dump());
  json["rope_parameters"]["factor"] = 4.0;
  CHECK(contains(error_text([&] { load(json); }), "'rope_scaling' and 'rope_parameters' differ"));
}
