// Dimensions: T tokens, K heads, d head_dim, G tokens per group of a channel, R rows of a quantizer's matrix.
#include "quant/kv_cache.h"

#include "quant/rules.h"

namespace qroar {

KvCache::KvCache(const Config& config, const LlamaConfig& llama, bool rotated) {
  if (config.get_choice<int>("type", 0, {{"none", 0}, {"fake_quant", 1}}) == 0) return;
  const auto axis_at = [&](const char* key) {
    return config.get_choice<Axis>(key, Axis::head,
                                   {{"head", Axis::head}, {"token", Axis::token}, {"channel", Axis::channel}});
  };
  key_before_rope_ = config.get_choice<bool>("key_rope", false, {{"before", true}, {"after", false}});
  const int64_t d = llama.head_dim, K = llama.num_key_value_heads, rotary = llama.rotary_dim() == d ? d : 0;
  key_ = read_part(config, {"kv.key", K, d, rotated && !key_before_rope_ ? 0 : rotary}, axis_at("key_axis"));
  value_ = read_part(config, {"kv.value", K, d}, axis_at("value_axis"));
  query_ = read_part(config, {"kv.query", llama.num_attention_heads, d, rotated ? 0 : rotary}, Axis::head);
  residual_ = config.get<int64_t>("residual", 0, {0, int64_t{1} << 31});

  // A group of tokens gG .. gG+G-1 shares scales, so reading one of them depends on all of them.  A query at t reads s
  // through the cache when s <= t - residual.  Its group ends at gG+G-1 <= s+G-1 <= t - residual + G-1, which is at
  // most t for every such s exactly when residual >= G-1; the bound is attained by s = gG and t = s + residual.  Then
  // no visible group is incomplete either: its end would lie beyond the last token, hence beyond t.
  const int64_t needed = std::max(key_.group, value_.group) - 1;
  if (residual_ < needed) {
    config.at("residual", "0")
        .fail(fmt::format("a group of {} tokens of a channel needs a residual of at least {}, found {}; with less a "
                          "query would see later "
                          "tokens in the scales of its past",
                          needed + 1, needed, residual_));
  }
}

KvCache::Part KvCache::read_part(const Config& config, LinearSite site, Axis axis) {
  const char* name = site.name.c_str() + std::string("kv.").size();
  Part part{activation_quantizer(config, name), axis};
  if (part.quantizer == nullptr) return part;
  const Config own = config.at(name);
  if (axis == Axis::channel) {
    part.group = own.has("group") ? own.get<int64_t>("group") : 0;
    if (part.group < 1) own.fail("axis channel needs `group`, the number of neighbouring tokens that share a scale");
  }
  if (axis == Axis::token) site = {site.name, 1, site.rows * site.columns};
  if (axis == Axis::channel) site = {site.name, site.rows * site.columns, part.group};
  part.quantizer->check_site(site);
  part.bits = part.quantizer->bits_per_weight(site);
  check_causal(own, *part.quantizer, site);
  return part;
}

double KvCache::bits_per_value() const { return (key_.bits + value_.bits) / 2; }

at::Tensor KvCache::Part::matrix(const at::Tensor& x_TKd) const {
  switch (axis) {
    case Axis::head: return x_TKd.reshape({-1, x_TKd.size(2)}).contiguous();
    case Axis::token: return x_TKd.reshape({-1, x_TKd.size(1) * x_TKd.size(2)}).contiguous();
    case Axis::channel: break;
  }
  const int64_t whole = x_TKd.size(0) / group * group;
  return x_TKd.narrow(0, 0, whole).permute({1, 2, 0}).reshape({-1, group}).contiguous();
}

Transform KvCache::Part::transform() const {
  if (quantizer == nullptr) return {};
  const auto rounded = [part = *this](const at::Tensor& x_TKd) {
    return part.quantizer->fake_quantize(part.matrix(x_TKd));
  };
  if (axis != Axis::channel) {
    return {[rounded](const at::Tensor& x_TKd) { return rounded(x_TKd).view(x_TKd.sizes()); }};
  }
  const auto channels = [rounded, G = group](const at::Tensor& x_TKd) {
    const int64_t whole = x_TKd.size(0) / G * G, K = x_TKd.size(1), d = x_TKd.size(2);
    at::Tensor out_TKd = x_TKd.clone();
    if (whole > 0) out_TKd.narrow(0, 0, whole).copy_(rounded(x_TKd).view({K, d, whole}).permute({2, 0, 1}));
    return out_TKd;
  };
  return {channels, /*couples_tokens=*/true};
}

std::vector<at::Tensor> KvCache::groups(Place place, const at::Tensor& x_THd) const {
  static const Part kExact;
  const bool has_key = (place == Place::key_before_rope) == key_before_rope_;
  const Part& part = place == Place::query ? query_ : has_key ? key_ : kExact;
  const at::Tensor matrix_RC = part.matrix(x_THd);
  return part.quantizer == nullptr ? std::vector<at::Tensor>{matrix_RC} : part.quantizer->groups(matrix_RC);
}

void KvCache::attach(HeadTransforms& heads) const {
  heads.query = query_.transform();
  (key_before_rope_ ? heads.key_before_rope : heads.key) = key_.transform();
  heads.value = value_.transform();
  // When nothing is quantized the residual window has no effect, and attention without it is faster.
  heads.residual = key_.quantizer == nullptr && value_.quantizer == nullptr ? 0 : residual_;
}

}  // namespace qroar
