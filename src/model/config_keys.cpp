#include "model/config_keys.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/config_fields.h"
#include "model/site.h"

namespace qroar {
namespace {

/// Keys that are read elsewhere (llama_config, config_rope) or do not affect a forward pass: names, training,
/// generation, storage.
constexpr std::string_view kHarmless[] = {"architectures",
                                          "model_type",
                                          "vocab_size",
                                          "hidden_size",
                                          "intermediate_size",
                                          "num_hidden_layers",
                                          "num_attention_heads",
                                          "num_key_value_heads",
                                          "head_dim",
                                          "max_position_embeddings",
                                          "rms_norm_eps",
                                          "rope_theta",
                                          "rope_scaling",
                                          "rope_parameters",
                                          "original_max_position_embeddings",
                                          "partial_rotary_factor",
                                          "tie_word_embeddings",
                                          "hidden_act",
                                          "bos_token_id",
                                          "eos_token_id",
                                          "dtype",
                                          "torch_dtype",
                                          "_*",
                                          "transformers_version",
                                          "transformers.js_config",
                                          "pad_token_id",
                                          "unk_token_id",
                                          "sep_token_id",
                                          "cls_token_id",
                                          "mask_token_id",
                                          "decoder_start_token_id",
                                          "forced_bos_token_id",
                                          "forced_eos_token_id",
                                          "initializer_range",
                                          "pretraining_tp",
                                          "use_cache",
                                          "*dropout*",
                                          "*_pdrop",
                                          "layerdrop",
                                          "gradient_checkpointing",
                                          "use_return_dict",
                                          "return_dict",
                                          "return_dict_in_generate",
                                          "output_attentions",
                                          "output_hidden_states",
                                          "output_scores",
                                          "torchscript",
                                          "use_bfloat16",
                                          "tf_legacy_loss",
                                          "chunk_size_feed_forward",
                                          "is_encoder_decoder",
                                          "is_decoder",
                                          "add_cross_attention",
                                          "cross_attention_hidden_size",
                                          "tie_encoder_decoder",
                                          "pruned_heads",
                                          "finetuning_task",
                                          "id2label",
                                          "label2id",
                                          "num_labels",
                                          "problem_type",
                                          "tokenizer_class",
                                          "prefix",
                                          "task_specific_params",
                                          "max_length",
                                          "min_length",
                                          "max_new_tokens",
                                          "do_sample",
                                          "early_stopping",
                                          "num_beams",
                                          "num_beam_groups",
                                          "diversity_penalty",
                                          "temperature",
                                          "top_k",
                                          "top_p",
                                          "typical_p",
                                          "repetition_penalty",
                                          "length_penalty",
                                          "no_repeat_ngram_size",
                                          "encoder_no_repeat_ngram_size",
                                          "bad_words_ids",
                                          "num_return_sequences",
                                          "exponential_decay_length_penalty",
                                          "suppress_tokens",
                                          "begin_suppress_tokens",
                                          "remove_invalid_values",
                                          "max_sequence_length",
                                          "model_max_length",
                                          "seq_length",
                                          "attn_implementation",
                                          "use_flash_attn*",
                                          "use_flash_attention*",
                                          "flash_attention",
                                          "is_llama_config",
                                          "unsloth_*",
                                          "max_window_layers",
                                          "router_*",
                                          "output_router_logits",
                                          "pad_token",
                                          "bos_token",
                                          "eos_token",
                                          "lm_head_dtype",
                                          "model_name",
                                          "base_model",
                                          "license",
                                          "datasets",
                                          "keys_to_ignore_at_inference"};

/// Keys that change a forward pass unless they have a neutral value; null, false and empty lists and dictionaries
/// always count as absent.
struct Changing {
  std::string_view glob;
  std::vector<Json> neutral;
};

std::vector<Changing> changing_keys(const LlamaConfig& config) {
  const Json softmax_scale = 1 / std::sqrt(static_cast<double>(config.head_dim));
  return {
      {"attention_multiplier", {softmax_scale}},
      {"*_multiplier*", {1}},
      {"logits_scaling", {1}},
      {"logit_scale", {1}},
      {"scale_emb", {1}},
      {"scale_depth", {}},
      {"scale_width", {1}},
      {"embedding_scale", {1}},
      {"attn_scale", {softmax_scale}},
      {"dim_model_base", {config.hidden_size}},
      {"query_pre_attn_scalar", {config.head_dim}},
      {"*softcap*", {0}},
      {"attn_temperature_tuning", {0}},
      {"no_rope_layers", {}},
      {"no_rope_layer_interval", {0}},
      {"nope_*", {}},
      {"layer_types", {}},
      {"{sliding_window,use_sliding_window}", {}},
      {"attention_chunk_size", {}},
      {"*logn*", {}},
      {"{use_,}{qk_norm,qk_layernorm}", {}},
      {"clip_qkv", {}},
      {"{rotary_pct,rope_pct,rope_percentage,rotary_percentage,rope_ratio}", {1}},
      {"{rotary_dim,rotary_ndims,rotary_emb_dim,qk_rope_head_dim}", {config.head_dim}},
      {"{rope_interleaved,rope_interleave,rotary_interleaved}", {}},
      {"rope_local_base_freq", {config.rope_theta}},
      {"{use_dynamic_ntk,use_mrope,mrope_section,rope_theta_local}", {}},
      {"{bias,attention_bias,mlp_bias,use_bias,qkv_bias,use_qkv_bias,add_qkv_bias,add_bias_linear,attention_out_bias}",
       {}},
      {"*num*experts*", {0, 1}},
      {"n_*experts", {0, 1}},
      {"moe_*", {0}},
      {"num_kv_shared_layers", {0}},
      {"num_nextn_predict_layers", {0}},
      {"{kv_lora_rank,q_lora_rank,block_configs,mlp_only_layers}", {0}},
      {"{alibi,use_alibi,parallel_attn,parallel_residual,use_parallel_residual}", {}},
      {"{use_bidirectional_attention,bidirectional}", {}},
      {"is_causal", {true}},
      {"use_rope", {true}},
      {"*sink*", {0}},
      {"position_embedding_type", {"rope", "rotary", "absolute"}},
      {"{norm_type,normalization}", {"rms_norm", "rmsnorm", "RMSNorm"}},
      {"*unit_offset", {}},
      {"{hidden_activation,activation_function,mlp_activation}", {"silu"}}};
}

bool is_absent(const Json& value) {
  return value.is_null() || value == false || ((value.is_array() || value.is_object()) && value.empty());
}

/// Returns whether a per-layer list has the value that this program implements for all layers.
bool is_uniform(const std::string& key, const Json& value) {
  if (!value.is_array()) return false;
  const Json expected = key == "layer_types" ? Json("full_attention") : key == "no_rope_layers" ? Json(1) : Json();
  return !expected.is_null() && std::ranges::all_of(value, [&](const Json& layer) { return layer == expected; });
}

bool is_neutral(const std::string& key, const Json& value, const std::vector<Json>& neutral) {
  if (is_absent(value) || is_uniform(key, value)) return true;
  return std::ranges::any_of(neutral, [&](const Json& same) {
    if (!same.is_number_float() || !value.is_number()) return value == same;
    return std::abs(value.get<double>() / same.get<double>() - 1) < 1e-6;  // 0.08838834764831845 or fewer digits
  });
}

}  // namespace

std::unique_ptr<Family> checked_family(const ConfigFields& fields) {
  const std::string type = fields.text("model_type");
  if (type.empty()) fields.missing("model_type", "\"llama\"");
  std::unique_ptr<Family> family = family_of(type);
  if (family == nullptr) {
    std::string known;
    for (const auto& [name, entry] : Registry<Family>::instance().entries())
      known += (known.empty() ? "" : ", ") + name;
    fields.complain(fmt::format(
        "a \"{}\" model; the families that are evaluated here have model_type {}; another architecture computes "
        "something else even where its tensors have the same names",
        type, known));
  }
  for (const char* key : {"quantization_config", "compression_config"}) {
    if (!fields.has(key)) continue;
    fields.complain(fmt::format(
        "'{}' says that the weights are already quantized (quant_method {}); scripts/import_checkpoint FOLDER OUT "
        "makes a folder with the same weights that is evaluated, or take the checkpoint that it was made "
        "from, and quantize with `quant`",
        key,
        fields.json()[key].is_object() ? fields.json()[key].value("quant_method", Json("unnamed")).dump()
                                       : fields.json()[key].dump()));
  }
  return family;
}

void check_other_keys(const ConfigFields& fields, const std::vector<std::string_view>& read, LlamaConfig& config) {
  const std::vector<Changing> changing = changing_keys(config);
  std::string unknown;
  for (const auto& [key, value] : fields.json().items()) {
    if (std::ranges::find(read, std::string_view(key)) != read.end()) continue;
    const auto matches = [&name = key](std::string_view glob) {
      return name.starts_with(glob.substr(0, glob.find_first_of("{*?"))) && glob_matches(glob, name);
    };
    const auto known = std::ranges::find_if(changing, matches, &Changing::glob);
    if (known != changing.end()) {
      if (!is_neutral(key, value, known->neutral))
        fields.wrong(key, "a model without it, since the forward here does not do what it asks for");
    } else if (!value.is_null() && std::ranges::none_of(kHarmless, matches)) {
      unknown += (unknown.empty() ? "" : ", ") + key;
    }
  }
  if (unknown.empty()) return;
  constexpr std::size_t kLongest = 400;
  if (unknown.size() > kLongest) unknown = unknown.substr(0, kLongest) + " ...";
  config.warnings.push_back(fmt::format(
      "config.json: keys that are not known here and were not acted on: {}; check that none changes the model",
      unknown));
}

}  // namespace qroar
