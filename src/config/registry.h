// Plugins register themselves: a file that defines one ends with a Register object, and no other file names it.
// Example:  const Register<RopeScheme, Yarn> kYarn{"yarn", "YaRN (arXiv 2309.00071)", "{type: yarn, factor: 8}"};
#pragma once
#include <functional>
#include <map>
#include <memory>

#include "base/error.h"
#include "config/config.h"

namespace qroar {

/// All registered plugins of one kind.  Interface has `static constexpr const char* kKind` ("rope scheme").
template <class Interface>
class Registry {
 public:
  struct Entry {
    std::string summary;  ///< one line with the source, shown by `list`
    std::string example;  ///< YAML that builds it; the conformance tests build from it
    std::function<std::unique_ptr<Interface>(const Config&)> make;
  };

  static Registry& instance() {
    static Registry registry;
    return registry;
  }

  void add(const std::string& name, Entry entry) {
    check(entries_.emplace(name, std::move(entry)).second, "two plugins of one kind share a name");
  }

  const std::map<std::string, Entry>& entries() const { return entries_; }

  /// Builds the plugin that config.type names.  The Error for an unknown name lists the known ones.
  std::unique_ptr<Interface> build(const Config& config) const {
    std::vector<std::pair<std::string, const Entry*>> choices;
    for (const auto& [name, entry] : entries_) choices.emplace_back(name, &entry);
    const Entry* entry = config.get_choice<const Entry*>("type", nullptr, choices);
    auto plugin = entry->make(config);
    config.read_name();
    return plugin;
  }

 private:
  std::map<std::string, Entry> entries_;
};

/// Registers Plugin, which is built from its Config, under a name.
template <class Interface, class Plugin>
struct Register {
  Register(const std::string& name, const std::string& summary, const std::string& example) {
    Registry<Interface>::instance().add(
        name, {summary, example, [](const Config& config) { return std::make_unique<Plugin>(config); }});
  }
};

}  // namespace qroar
