#include "quant/rtn.h"

#include "quant/groups.h"

namespace qroar {

Rtn::Rtn(const Config& config, const RtnDefaults& defaults)
    : config_(config), group_(config.get<int64_t>("group", defaults.group, {-1, int64_t{1} << 31})) {
  grid_.bits = static_cast<int>(config.get<int64_t>("bits", defaults.bits, {2, 8}));
  grid_.symmetric = config.get<bool>("symmetric", defaults.symmetric);
  if (config.has("scale_dtype")) {
    grid_.arithmetic = config.get_choice<ops::RtnArithmetic>("scale_dtype", ops::RtnArithmetic::float32,
                                                             {{"float32", ops::RtnArithmetic::float32},
                                                              {"float16", ops::RtnArithmetic::float16},
                                                              {"bfloat16", ops::RtnArithmetic::bfloat16}});
  }
  if (defaults.zero) {
    grid_.zero = *defaults.zero;
    return;
  }
  grid_.zero = config.get_choice<ops::RtnZero>(
      "zero", ops::RtnZero::plain,
      {{"plain", ops::RtnZero::plain}, {"awq", ops::RtnZero::awq}, {"included", ops::RtnZero::included}});
  grid_.clip = static_cast<float>(config.get<double>("clip", 1.0, {0, 1}));
  if (!(grid_.clip > 0)) config.at("clip").fail("must be above 0: the part of a group's range that its grid keeps");
}

void Rtn::check_site(const LinearSite& site) const { check_group(config_, group_, site); }

at::Tensor Rtn::fake_quantize(const at::Tensor& weight_OI) const {
  return ops::rtn_fake_quant(weight_OI, group_, grid_);
}

std::vector<at::Tensor> Rtn::groups(const at::Tensor& x_RC) const { return {rows_of_groups(group_, x_RC)}; }

std::function<at::Tensor(const at::Tensor&)> Rtn::with_range(const at::Tensor& lo, const at::Tensor& hi) const {
  if (group_ >= 0) return {};
  const at::ScalarType dtype = ops::rtn_dtype(grid_);
  const ops::RtnScale scale = ops::rtn_scale(at::stack({lo, hi}).view({1, 2}).to(dtype), grid_);
  return [scale, dtype](const at::Tensor& x) { return ops::rtn_round(x.to(dtype), scale).to(x.scalar_type()); };
}

std::optional<std::string> Rtn::couples_rows(const LinearSite&) const { return group_couples_rows(group_); }

double Rtn::bits_per_weight(const LinearSite& site) const {
  const double groups_per_weight =
      static_cast<double>(group_count(group_, site)) / static_cast<double>(site.rows * site.columns);
  return grid_.bits + groups_per_weight * (16 + (grid_.symmetric ? 0 : grid_.bits));
}

}  // namespace qroar
