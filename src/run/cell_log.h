// The log of a running cell.
#pragma once
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <filesystem>
#include <memory>

#include "base/log.h"

namespace qroar {

/// Copies the log into the cell's folder during its lifetime.  A log that cannot be written is a warning: the cell does
/// not depend on it.
class CellLog {
 public:
  explicit CellLog(const std::filesystem::path& folder) {
    try {
      std::filesystem::remove(folder / "log.txt");  // perhaps a link
      sink_ = std::make_shared<spdlog::sinks::basic_file_sink_mt>((folder / "log.txt").string());
      sink_->set_formatter(log_format("[%Y-%m-%d %H:%M:%S.%e] [%l] %*"));
      spdlog::default_logger()->sinks().push_back(sink_);
    } catch (const std::exception& error) {
      spdlog::warn("{}: the cell's messages are not kept: {}", (folder / "log.txt").string(), error.what());
    }
  }
  ~CellLog() { std::erase(spdlog::default_logger()->sinks(), sink_); }
  CellLog(const CellLog&) = delete;
  CellLog& operator=(const CellLog&) = delete;

 private:
  spdlog::sink_ptr sink_;
};

}  // namespace qroar
