#include "results/partial.h"

#include "base/error.h"
#include "base/hash.h"

namespace qroar {
namespace {

constexpr const char* kName = "partial.jsonl";
[[noreturn]] void refuse(const std::string& what) { fail("{}; delete the file and run again", what); }

}  // namespace

PartialCell::PartialCell(const std::filesystem::path& cell, const Json& inputs, bool restart,
                         std::function<void()> check)
    : file_(cell / kName), check_(std::move(check)) {
  if (restart) std::filesystem::remove(file_);
  log_.emplace(file_, refuse);
  const bool same = !log_->lines().empty() && log_->lines().front().value("inputs", Json()) == inputs;
  if (!same) {
    std::filesystem::remove(file_);
    log_.emplace(file_, refuse);
    log_->append({{"inputs", inputs}});
  }
  for (std::size_t i = 1; i < log_->lines().size(); ++i) {
    Json line = log_->lines()[i];
    const Json hash = std::exchange(line["hash"], nullptr);
    if (hash != hash_bytes(line.dump())) refuse(fmt::format("{}:{}: no line of this program's", file_.string(), i + 1));
    parts_.emplace(line["part"], Part{line["result"], line["seconds"]});
  }
  found_ = parts_.size();
}

const Json* PartialCell::find(const std::string& part) const {
  const auto found = parts_.find(part);
  return found == parts_.end() ? nullptr : &found->second.result;
}

void PartialCell::add(const std::string& part, const Json& result) {
  check_();
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - since_).count();
  since_ = now;
  Json line{{"part", part}, {"seconds", seconds}, {"result", result}, {"hash", nullptr}};
  line["hash"] = hash_bytes(line.dump());
  log_->append(line);
  parts_.emplace(part, Part{result, seconds});
}

double PartialCell::seconds(const std::string& kind) const {
  double sum = 0;
  for (const auto& [name, part] : parts_) sum += name.starts_with(kind) ? part.seconds : 0;
  return sum;
}

void PartialCell::remove(const std::filesystem::path& cell) { std::filesystem::remove(cell / kName); }

}  // namespace qroar
