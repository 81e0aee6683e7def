#include "base/log.h"

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdio>

#include "base/utf8.h"

namespace qroar {
namespace {

class VisibleMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& to) override {
    const std::string text = visible({message.payload.data(), message.payload.size()});
    to.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<VisibleMessage>(); }
};

}  // namespace

std::unique_ptr<spdlog::formatter> log_format(const std::string& pattern) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<VisibleMessage>('*').set_pattern(pattern);
  return formatter;
}

void let_log_fail() {
  spdlog::set_error_handler([](const std::string& what) {
    static std::atomic<bool> told = false;
    if (told.exchange(true)) return;
    const std::string line = fmt::format("messages are lost: {}\n", visible(what));
    std::fputs(line.c_str(), stderr);
  });
}

}  // namespace qroar
