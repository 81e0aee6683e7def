// What quantizers with one scale a group of weights share: the sizes of groups and the errors about them.
#pragma once
#include <optional>
#include <string>

#include "config/config.h"
#include "model/site.h"

namespace qroar {

/// "32, 64, 96": the sizes of whole groups a line of `length` weights can be cut into, the usual powers of two first.
std::string sizes_that_divide(int64_t length);

/// An Error at `config` when `group` > 0 (groups along the inputs; 0 is one a row, -1 one a tensor) does not divide the
/// layer's inputs; it names the layer and sizes that do.
void check_group(const Config& config, int64_t group, const LinearSite& site);

/// An Error at `config` when the blocks of a format, whose size is fixed, do not divide the layer's inputs.
void check_fixed_block(const Config& config, int64_t block, const LinearSite& site);

/// Quantizer::couples_rows() of one scale a group.
std::optional<std::string> group_couples_rows(int64_t group);

/// Groups of a layer's weight.
int64_t group_count(int64_t group, const LinearSite& site);

}  // namespace qroar
