#include "run/shared_passes.h"

#include <map>
#include <set>

#include "ops/device.h"

namespace qroar {
namespace {

constexpr const char* kFrom = "scored_with";

/// Returns whether a window of one cell is the beginning of the other cell's.
bool begins(const Cell& longer, const Window& whole, const Cell& shorter, const Window& part) {
  const Job &ours = *longer.job, &theirs = *shorter.job;
  const int64_t all = tokens_seen(whole, ours.data.windows.feed), length = tokens_seen(part, theirs.data.windows.feed);
  if (length > all || (length < all && length % kPrefixTokens != 0)) return false;
  return ours.method.rope->table(ours.method.geometry, all) ==
         theirs.method.rope->table(theirs.method.geometry, length);
}

/// Returns the other cell's windows that are beginnings of the first one's.
std::set<std::size_t> beginnings(const Cell& first, const Cell& other) {
  std::map<std::pair<int64_t, int64_t>, const Window*> places;
  for (const Window& window : first.windows) places.emplace(std::pair(window.document, window.begin), &window);
  std::set<std::size_t> found;
  for (std::size_t i = 0; i < other.windows.size(); ++i) {
    const auto whole = places.find({other.windows[i].document, other.windows[i].begin});
    if (whole != places.end() && begins(first, *whole->second, other, other.windows[i])) found.insert(i);
  }
  return found;
}

}  // namespace

bool may_share_passes(const Cell& one, const Cell& other) {
  const Job &a = *one.job, &b = *other.job;
  if (!a.model.open_error.empty() || !b.model.open_error.empty() || one.data == nullptr || other.data == nullptr)
    return false;
  if (a.method.search || b.method.search) return false;
  for (const char* block : {"model", "reference", "rescale", "seed"}) {
    if (value_at(a.resolved, fmt::format("/{}", block)) != value_at(b.resolved, fmt::format("/{}", block)))
      return false;
  }
  return a.method.quantization.key == b.method.quantization.key && a.needs_reference() == b.needs_reference() &&
         one.data->hash == other.data->hash && a.data.windows.feed.bos == b.data.windows.feed.bos;
}

bool profits(const Cell& first, const Cell& other) {
  if (!may_share_passes(first, other)) return false;
  return is_streamed(first, ops::parse_device(first.job->model.spec.device)) || !beginnings(first, other).empty();
}

double PassCount::flops(const Cell& cell) {
  if (!before_.empty() && before_.back()->job->shared != cell.job->shared) before_.clear();
  std::set<std::size_t> shared;
  for (const Cell* earlier : before_) {
    if (may_share_passes(*earlier, cell)) shared.merge(beginnings(*earlier, cell));
  }
  before_.push_back(&cell);
  double sum = cell.flops();
  for (const std::size_t i : shared) sum -= cell.flops(cell.windows[i]);
  return sum;
}

void PartsForAnother::add(std::size_t window, const Json& result, double seconds) {
  Json kept = result;
  kept[kFrom] = first_;
  partial_->add(window_part(window), kept, seconds);
}

std::string PartsForAnother::origin(const PartialCell& partial, std::size_t windows) {
  for (std::size_t i = 0; i < windows; ++i) {
    const Json* part = partial.find(window_part(i));
    if (part != nullptr && part->contains(kFrom)) return (*part)[kFrom];
  }
  return "";
}

}  // namespace qroar
