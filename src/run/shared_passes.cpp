#include "run/shared_passes.h"

#include <map>
#include <set>

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

double PassCount::flops(const Cell& cell) {
  if (!before_.empty() && before_.back()->job->shared != cell.job->shared) before_.clear();
  double sum = cell.flops();
  std::set<std::size_t> shared;
  for (const Cell* earlier : before_) {
    if (!may_share_passes(*earlier, cell)) continue;
    std::map<std::pair<int64_t, int64_t>, const Window*> places;
    for (const Window& window : earlier->windows) places.emplace(std::pair(window.document, window.begin), &window);
    for (std::size_t i = 0; i < cell.windows.size(); ++i) {
      const auto whole = places.find({cell.windows[i].document, cell.windows[i].begin});
      if (whole == places.end() || !begins(*earlier, *whole->second, cell, cell.windows[i])) continue;
      if (shared.insert(i).second) sum -= cell.flops(cell.windows[i]);
    }
  }
  before_.push_back(&cell);
  return sum;
}

void PartsForAnother::add(std::size_t window, const Json& result, std::size_t whole) {
  Json kept = result;
  kept[kFrom] = first_.job->id;
  const double share = cell_.flops(cell_.windows[window]) / first_.flops(first_.windows[whole]);
  partial_->add(window_part(window), kept, share * first_partial_.seconds(window_part(whole)));
}

std::string PartsForAnother::origin(const PartialCell& partial, std::size_t windows) {
  for (std::size_t i = 0; i < windows; ++i) {
    const Json* part = partial.find(window_part(i));
    if (part != nullptr && part->contains(kFrom)) return (*part)[kFrom];
  }
  return "";
}

}  // namespace qroar
