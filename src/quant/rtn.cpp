#include "quant/rtn.h"

namespace qroar {
namespace {

/// "32, 64, 96": the sizes of whole groups a row of `columns` can be cut into, the usual powers of two first.
std::string sizes_that_divide(int64_t columns) {
  std::vector<int64_t> sizes;
  for (int64_t size = 16; size <= columns && size <= 1024; size *= 2) {
    if (columns % size == 0) sizes.push_back(size);
  }
  for (int64_t size = 2; size <= columns && sizes.size() < 3; ++size) {
    if (columns % size == 0 && std::find(sizes.begin(), sizes.end(), size) == sizes.end()) sizes.push_back(size);
  }
  return fmt::format("{}", fmt::join(sizes, ", "));
}

}  // namespace

Rtn::Rtn(const Config& config, const RtnDefaults& defaults)
    : config_(config), group_(config.get<int64_t>("group", defaults.group, {-1, int64_t{1} << 31})) {
  grid_.bits = static_cast<int>(config.get<int64_t>("bits", defaults.bits, {2, 8}));
  grid_.symmetric = config.get<bool>("symmetric", defaults.symmetric);
  grid_.zero =
      defaults.zero
          ? *defaults.zero
          : config.get_choice<ops::RtnZero>(
                "zero", ops::RtnZero::plain,
                {{"plain", ops::RtnZero::plain}, {"awq", ops::RtnZero::awq}, {"included", ops::RtnZero::included}});
}

void Rtn::check_site(const LinearSite& site) const {
  if (group_ > 0 && site.columns % group_ != 0) {
    config_.fail(
        fmt::format("group {} does not divide the {} inputs of {}; sizes that do: {}, or 0 for one group a row", group_,
                    site.columns, site.name, sizes_that_divide(site.columns)));
  }
}

at::Tensor Rtn::fake_quantize(const at::Tensor& weight_OI) const {
  return ops::rtn_fake_quant(weight_OI, group_, grid_);
}

double Rtn::bits_per_weight(const LinearSite& site) const {
  const auto weights = static_cast<double>(site.rows * site.columns);
  const double groups = group_ < 0    ? 1
                        : group_ == 0 ? static_cast<double>(site.rows)
                                      : weights / static_cast<double>(group_);
  return grid_.bits + groups * (16 + (grid_.symmetric ? 0 : grid_.bits)) / weights;
}

}  // namespace qroar
