#include "model/site.h"

#include "base/error.h"

namespace qroar {
namespace {

/// Replaces the first {a,b} with each of its alternatives, until none is left.
std::vector<std::string> expand_braces(const std::string& glob) {
  const auto open = glob.find('{');
  const auto close = glob.find('}');
  if (open == std::string::npos && close == std::string::npos) return {glob};
  if (open == std::string::npos || close == std::string::npos || close < open ||
      glob.substr(open + 1, close - open - 1).find('{') != std::string::npos) {
    fail("glob '{}': braces do not pair; write {{a,b}} without nesting", glob);
  }
  std::vector<std::string> globs;
  for (auto begin = open + 1; begin <= close;) {
    const auto end = std::min(glob.find(',', begin), close);
    for (auto& rest : expand_braces(glob.substr(0, open) + glob.substr(begin, end - begin) + glob.substr(close + 1))) {
      globs.push_back(std::move(rest));
    }
    begin = end + 1;
  }
  return globs;
}

bool matches_plain(std::string_view glob, std::string_view name) {
  if (glob.empty()) return name.empty();
  if (glob.front() == '*') {
    for (std::size_t skip = 0; skip <= name.size(); ++skip) {
      if (matches_plain(glob.substr(1), name.substr(skip))) return true;
    }
    return false;
  }
  return !name.empty() && (glob.front() == '?' || glob.front() == name.front()) &&
         matches_plain(glob.substr(1), name.substr(1));
}

}  // namespace

std::string layer_of(std::string_view site) {
  if (!site.starts_with("layers.")) return "";
  return std::string(site.substr(0, site.find('.', site.find('.') + 1) + 1));
}

std::string name_in_layer(std::string_view site) { return std::string(site.substr(layer_of(site).size())); }

bool has_bias(const LlamaConfig& config, std::string_view site) {
  if (site.find(".mlp.") != std::string_view::npos) return config.mlp_bias;
  return site.ends_with(".o_proj") ? config.o_bias : config.qkv_bias;
}

std::vector<LinearSite> linear_sites(const LlamaConfig& config) {
  const int64_t query_rows = config.num_attention_heads * config.head_dim;
  const int64_t key_rows = config.num_key_value_heads * config.head_dim;
  const int64_t rotated = config.rotary_dim() == config.head_dim ? config.head_dim : 0;
  std::vector<LinearSite> sites;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const auto add = [&](const char* name, int64_t rows, int64_t columns, int64_t head_dim = 0) {
      sites.push_back({fmt::format("layers.{}.{}", layer, name), rows, columns, head_dim});
    };
    add("self_attn.q_proj", query_rows, config.hidden_size, rotated);
    add("self_attn.k_proj", key_rows, config.hidden_size, rotated);
    add("self_attn.v_proj", key_rows, config.hidden_size);
    add("self_attn.o_proj", config.hidden_size, query_rows);
    add("mlp.gate_proj", config.intermediate_size, config.hidden_size);
    add("mlp.up_proj", config.intermediate_size, config.hidden_size);
    add("mlp.down_proj", config.hidden_size, config.intermediate_size);
  }
  sites.push_back({"lm_head", config.vocab_size, config.hidden_size});
  return sites;
}

bool glob_matches(std::string_view glob, std::string_view name) {
  for (const auto& plain : expand_braces(std::string(glob))) {
    if (matches_plain(plain, name)) return true;
  }
  return false;
}

}  // namespace qroar
