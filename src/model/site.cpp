#include "model/site.h"

#include "base/error.h"

namespace qroar {
namespace {

/// Returns a glob with each {a,b} replaced by one of its alternatives, for all of their combinations.
std::vector<std::string> expand_braces(const std::string& glob) {
  constexpr std::size_t kMost = 10'000;
  std::vector<std::string> globs{""};
  for (std::size_t at = 0;;) {
    const auto open = std::min(glob.find_first_of("{}", at), glob.size());
    for (std::string& begun : globs) begun.append(glob, at, open - at);
    if (open == glob.size()) return globs;
    const auto close = glob.find_first_of("{}", open + 1);
    if (glob[open] == '}' || close == glob.npos || glob[close] == '{')
      fail("glob '{}': braces do not pair; write {{a,b}} without nesting", glob);
    std::vector<std::string> longer;
    for (const std::string& begun : globs) {
      for (auto begin = open + 1; begin <= close;) {
        const auto end = std::min(glob.find(',', begin), close);
        longer.push_back(begun + glob.substr(begin, end - begin));
        if (longer.size() > kMost) fail("glob '{}': its braces stand for more than {} globs", glob, kMost);
        begin = end + 1;
      }
    }
    globs = std::move(longer);
    at = close + 1;
  }
}

/// Returns whether a name is what a glob of * and ? stands for.  A star takes more only until the next one is reached:
/// time grows with the product of both lengths.
bool matches_plain(std::string_view glob, std::string_view name) {
  std::size_t at = 0, star = glob.npos, behind_star = 0;
  for (std::size_t i = 0; i < name.size();) {
    if (at < glob.size() && glob[at] == '*') {
      star = at++;
      behind_star = i;
    } else if (at < glob.size() && (glob[at] == '?' || glob[at] == name[i])) {
      ++at;
      ++i;
    } else if (star != glob.npos) {
      at = star + 1;
      i = ++behind_star;
    } else {
      return false;
    }
  }
  return glob.find_first_not_of('*', at) == glob.npos;
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
