// Shared code of quantizers with one scale per group of weights: the sizes of groups and the errors about them.
#pragma once
#include <ATen/ATen.h>

#include <optional>
#include <string>

#include "config/config.h"
#include "model/site.h"

namespace qroar {

/// Returns a list such as "32, 64, 96": the group sizes that divide a row of `length` weights, the usual powers of two
/// first.
std::string sizes_that_divide(int64_t length);

/// Throws an Error at `config` when `group` > 0 (groups along the inputs; 0 is one per row, -1 one per tensor) does not
/// divide the layer's inputs; the message names the layer and sizes that do.
void check_group(const Config& config, int64_t group, const LinearSite& site);

/// Throws an Error at `config` when the fixed block size of a format does not divide the layer's inputs.
void check_fixed_block(const Config& config, int64_t block, const LinearSite& site);

/// Implements Quantizer::couples_rows() for one scale per group.
std::optional<std::string> group_couples_rows(int64_t group);

/// Returns the groups of a matrix as rows [N, S].
at::Tensor rows_of_groups(int64_t group, const at::Tensor& x_RC);

/// Returns the number of groups of a layer's weight.
int64_t group_count(int64_t group, const LinearSite& site);

}  // namespace qroar
