#include "quant/groups.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

namespace qroar {

std::string sizes_that_divide(int64_t length) {
  std::vector<int64_t> sizes;
  for (int64_t size = 16; size <= length && size <= 1024; size *= 2) {
    if (length % size == 0) sizes.push_back(size);
  }
  for (int64_t size = 2; size <= length && sizes.size() < 3; ++size) {
    if (length % size == 0 && std::find(sizes.begin(), sizes.end(), size) == sizes.end()) sizes.push_back(size);
  }
  return fmt::format("{}", fmt::join(sizes, ", "));
}

void check_group(const Config& config, int64_t group, const LinearSite& site) {
  if (group > 0 && site.columns % group != 0) {
    config.fail(fmt::format("group {} does not divide the {} inputs of {}; sizes that do: {}, or 0 for one group a row",
                            group, site.columns, site.name, sizes_that_divide(site.columns)));
  }
}

void check_fixed_block(const Config& config, int64_t block, const LinearSite& site) {
  if (site.columns % block != 0) {
    config.fail(fmt::format(
        "the format's blocks of {} do not divide the {} inputs of {}; give this layer another type, such as fp8", block,
        site.columns, site.name));
  }
}

std::optional<std::string> group_couples_rows(int64_t group) {
  if (group >= 0) return std::nullopt;
  return "group: -1 is one scale for all rows; write group: 0 (one a row) or finer";
}

at::Tensor rows_of_groups(int64_t group, const at::Tensor& x_RC) {
  if (group == 0) return x_RC;
  return x_RC.reshape({-1, group > 0 ? group : x_RC.numel()});
}

int64_t group_count(int64_t group, const LinearSite& site) {
  return group < 0 ? 1 : group == 0 ? site.rows : site.rows * site.columns / group;
}

}  // namespace qroar
