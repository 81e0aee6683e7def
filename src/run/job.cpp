#include "run/job.h"

#include <set>

#include "base/error.h"
#include "base/files.h"
#include "config/check_at.h"
#include "config/registry.h"
#include "run/controls.h"
#include "run/error_list.h"
#include "run/exports.h"
#include "search/spec.h"

namespace qroar {
namespace {

/// `perplexity` is short for {type: perplexity}.
Config as_plugin(const Config& item) {
  if (item.kind() != Config::Kind::scalar) return item;
  item.as<std::string>();
  return item.as_map_of("type");
}

template <class Interface>
std::unique_ptr<Interface> parse_plugin(const Config& config) {
  auto plugin = Registry<Interface>::instance().build(config);
  check_all_read(config);
  return plugin;
}

std::vector<std::unique_ptr<Metric>> parse_metrics(const Config& root, const WindowRule& windows,
                                                   const DataSpec& data) {
  std::vector<std::unique_ptr<Metric>> metrics;
  std::set<std::string> types;
  for (const Config& item : root.at("metrics", "[perplexity]").items()) {
    const Config config = as_plugin(item);
    metrics.push_back(parse_plugin<Metric>(config));
    metrics.back()->bind(windows, data);
    const auto type = config.get<std::string>("type");
    if (!types.insert(type).second) item.fail(fmt::format("'{}' is listed twice; remove one", type));
  }
  return metrics;
}

std::map<std::string, std::unique_ptr<Diagnostic>> parse_diagnostics(const Config& root, const LlamaConfig& llama,
                                                                     const WindowRule& windows) {
  std::map<std::string, std::unique_ptr<Diagnostic>> diagnostics;
  for (const Config& item : root.items("diagnostics")) {
    const Config config = as_plugin(item);
    auto diagnostic = parse_plugin<Diagnostic>(config);
    diagnostic->check_cell(llama, windows);
    const auto type = config.get<std::string>("type");
    if (!diagnostics.emplace(type, std::move(diagnostic)).second) {
      item.fail(fmt::format("'{}' is listed twice and has one table; remove one", type));
    }
  }
  return diagnostics;
}

std::shared_ptr<const Rescaling> parse_rescaling(const Config& root, const LlamaConfig& llama) {
  std::shared_ptr<Rescaling> rescaling = Registry<Rescaling>::instance().build(root.at("rescale", "{type: none}"));
  rescaling->bind(llama);
  return rescaling;
}

}  // namespace

Job::Job(const SweepPoint& point) {
  const Config& root = point.config;
  for (const auto& [path, value] : point.axes) axes[path] = value;
  try {
    llama = LlamaConfig::load(model_folder(root.at("model")));
  } catch (const UnreadableConfig& error) {
    unopened = error.what();
    resolved = root.json();
    id = hash_bytes(resolved.dump()).substr(0, 16);
    return;
  }
  model = ModelSpec(root.at("model"), llama);
  for (const Config& item : root.items("tasks")) tasks.push_back(parse_plugin<Task>(item));
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const std::string& name = tasks[i]->name();
    if (name.empty() || name.starts_with('.') || name.find('/') != name.npos) {
      const Config item = root.items("tasks")[i];
      (item.has("name") ? item.at("name") : item).fail(fmt::format("'{}' cannot name a table", name));
    }
    const auto same = [&](const auto& task) { return task->name() == tasks[i]->name(); };
    if (std::ranges::count_if(tasks, same) > 1) {
      root.items("tasks")[i].fail(fmt::format("two tasks are called '{}'; give one a `name`", tasks[i]->name()));
    }
  }
  if (tasks.empty() || root.has("data")) data = present_data(root.at("data"));
  windows = WindowRule(root.at("windows"));
  if (windows.length > int64_t{1} << 31) root.at("windows").at("length").fail("no more than 2147483648 tokens");

  const Config rope_config = root.at("rope", "{type: model}");
  rope = Registry<RopeScheme>::instance().build(rope_config);
  geometry = {llama.head_dim, llama.rope_theta, llama.trained_length, windows.length, llama.rope};
  check_at(rope_config, [&] { rope->table(geometry, windows.length); });
  rescaling = parse_rescaling(root, llama);
  quantization = Quantization(root, llama);
  const BandSearch* search = rescaling->search();
  if (search != nullptr && search->spec.quantization) searched.emplace(*search->spec.quantization, llama);
  check_windows(root.at("windows"));
  if (data) {
    fresh_metrics = [root, rule = windows, spec = *data] { return parse_metrics(root, rule, spec); };
    metrics = fresh_metrics();
  }
  if (root.has("reference")) {
    const Config block = root.at("reference");
    reference.emplace(block, model, llama, rope_config, windows.length);
    if (!needs_reference()) block.fail("no metric compares with it; list kl_divergence or long_ppl in `metrics`");
  }
  diagnostics = parse_diagnostics(root, llama, windows);
  for (const char* key : {"metrics", "diagnostics"}) {
    if (!data && root.has(key)) root.at(key).fail("look at windows of text; give `data`, too");
  }
  seed = root.get<int64_t>("seed", 0);
  exported = parse_export(root, *this);
  check_all_read(root);

  resolved = root.resolved();
  resolved.erase("export");
  quantization.resolve(resolved);
  if (searched) searched->resolve(resolved["rescale"]["search"]["quantization"]);
  id = hash_bytes(resolved.dump()).substr(0, 16);
  for (const char* key : {"path", "dtype", "device"}) shared.push_back(resolved["model"][key].dump());
  for (const Json& key : {resolved["model"], search_quantization().key, resolved["rescale"], quantization.key}) {
    shared.push_back(key.dump());
  }
}

void Job::check_windows(const Config& place) const {
  const BandSearch* search = rescaling->search();
  if (windows.feed.bos != Bos::none && (data || search != nullptr) && !llama.bos_token_id) {
    (place.has("bos") ? place.at("bos") : place)
        .fail("the model has no BOS: its config.json says bos_token_id: null; say windows.bos: false");
  }
  int64_t longest = windows.length;
  if (quantization.calibration) longest = std::max(longest, quantization.calibration->length);
  if (search != nullptr) longest = std::max(longest, std::ranges::max(search->spec.lengths));
  if (llama.sliding_window.value_or(longest) < longest) {
    place.at("length").fail(
        fmt::format("{} tokens go through the model, whose config.json says sliding_window: {}; attention here sees "
                    "all of a window, "
                    "so take windows up to that length",
                    longest, *llama.sliding_window));
  }
}

RopeTable Job::trained_table(int64_t length) const {
  return Registry<RopeScheme>::instance()
      .build(Config::parse("{type: model}", "calibration.rope"))
      ->table(geometry, length);
}

std::vector<Job> parse_experiment(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  std::vector<Job> jobs;
  ErrorList errors;
  std::set<std::string> ids;
  std::vector<std::pair<std::size_t, NamedPoint>> controls;  // after which job, what
  for (const SweepPoint& point : expand(Config::load(file, overrides))) {
    try {
      Job job(point);
      if (!ids.insert(job.id).second) {
        fail("{}: two points of the sweep are the same job ({}); an axis there changes nothing", point.origin,
             job.axes.dump());
      }
      if (job.rescaling != nullptr && job.rescaling->search() != nullptr) {
        for (const auto& [axis, value] : axes_beside_controls(point)) job.axes[axis] = value;
        for (NamedPoint& control : controls_of(point)) controls.emplace_back(jobs.size(), std::move(control));
      }
      jobs.push_back(std::move(job));
      errors.add_good();
    } catch (const Error& error) {
      errors.add(error.what());
    }
  }
  errors.throw_if_any();
  for (const auto& [searched, control] : controls) {
    Job job(control.point);
    jobs[searched].controls[control.name] = job.id;
    if (ids.insert(job.id).second) jobs.push_back(std::move(job));
  }
  check_export_folders(jobs);
  return jobs;
}

}  // namespace qroar
