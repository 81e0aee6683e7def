#include "run/shared_passes.h"

#include <algorithm>
#include <map>
#include <set>

#include "ops/device.h"
#include "run/memory.h"

namespace qroar {
namespace {

constexpr const char* kFrom = "scored_with";

const Document& document_of(const Cell& cell, const Window& window) {
  return cell.data->documents[static_cast<std::size_t>(window.document)];
}

/// Returns whether a window of one cell is the beginning of the other cell's, of the same document.
bool begins(const Cell& longer, const Window& whole, const Cell& shorter, const Window& part) {
  const Job &ours = *longer.job, &theirs = *shorter.job;
  const int64_t all = tokens_seen(whole, ours.data.windows.feed), length = tokens_seen(part, theirs.data.windows.feed);
  if (length > all || (length < all && length % kPrefixTokens != 0)) return false;
  const auto own = document_of(longer, whole).tokens.begin() + whole.begin;
  const auto other = document_of(shorter, part).tokens.begin() + part.begin;
  if (!std::equal(other, other + length - theirs.data.windows.feed.added(), own)) return false;
  return ours.method.rope->table(ours.method.geometry, all) ==
         theirs.method.rope->table(theirs.method.geometry, length);
}

/// Returns the other cell's windows that are beginnings of the first one's.
std::set<std::size_t> beginnings(const Cell& first, const Cell& other) {
  using Place = std::pair<std::string, int64_t>;  // as in eval/followers.cpp: cells may skip other documents
  const auto place = [](const Cell& cell, const Window& window) {
    return Place(document_of(cell, window).id, window.begin);
  };
  std::map<Place, std::vector<const Window*>> places;
  for (const Window& window : first.windows) places[place(first, window)].push_back(&window);
  std::set<std::size_t> found;
  for (std::size_t i = 0; i < other.windows.size(); ++i) {
    const Window& part = other.windows[i];
    const auto here = places.find(place(other, part));
    const auto is_whole = [&](const Window* whole) { return begins(first, *whole, other, part); };
    if (here != places.end() && std::ranges::any_of(here->second, is_whole)) found.insert(i);
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
  if (!claim_.is_held()) return;  // another process took the cell over and evaluates it
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
