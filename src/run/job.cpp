#include "run/job.h"

#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/utf8.h"
#include "config/check_at.h"
#include "config/registry.h"
#include "run/controls.h"
#include "run/error_list.h"
#include "run/exports.h"
#include "search/spec.h"

namespace qroar {
namespace {

/// Expands `perplexity` to {type: perplexity}.
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

std::vector<std::shared_ptr<Task>> parse_tasks(const Config& root) {
  std::vector<std::shared_ptr<Task>> tasks;
  const std::vector<Config> items = root.items("tasks");
  for (const Config& item : items) tasks.push_back(parse_plugin<Task>(item));
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const std::string& name = tasks[i]->name();
    const Config place = items[i].has("name") ? items[i].at("name") : items[i];
    if (name.empty() || name.starts_with('.') || name.find('/') != name.npos || !is_visible(name))
      place.fail(fmt::format("'{}' cannot name a table", name));
    if (name == "nll_by_position") place.fail("that is how losses by position are called; give the task another name");
    constexpr std::size_t kLongest = 200;  // bytes, of a file's name with its ending
    if (name.size() > kLongest) place.fail(fmt::format("a name of {} bytes; at most {}", name.size(), kLongest));
    if (std::ranges::count(tasks, name, [](const auto& task) { return task->name(); }) > 1) {
      items[i].fail(fmt::format("two tasks are called '{}'; give one a `name`", name));
    }
  }
  return tasks;
}

JobData parse_data(const Config& root) {
  JobData data;
  data.tasks = parse_tasks(root);
  if (data.tasks.empty() || root.has("data")) data.text = read_data_spec(root.at("data"));
  data.windows = WindowRule(root.at("windows"));
  if (data.windows.length > int64_t{1} << 31) root.at("windows").at("length").fail("no more than 2147483648 tokens");
  return data;
}

std::shared_ptr<const Rescaling> parse_rescaling(const Config& config, const LlamaConfig& llama) {
  std::shared_ptr<Rescaling> rescaling = Registry<Rescaling>::instance().build(config);
  rescaling->bind(llama);
  return rescaling;
}

}  // namespace

Job::Job(const SweepPoint& point, ModelConfigs& read) {
  const Config& root = point.config;
  for (const auto& [path, value] : point.axes) axes[path] = value;
  try {
    const std::filesystem::path folder = model_folder(root.at("model"));
    const auto known = read.find(folder);
    model.config = known == read.end() ? read.emplace(folder, LlamaConfig::load(folder)).first->second : known->second;
  } catch (const UnreadableConfig& error) {
    model.open_error = error.what();
    resolved = root.json();
    id = hash_bytes(resolved.dump()).substr(0, 16);
    return;
  }
  const LlamaConfig& llama = model.config;
  model.spec = ModelSpec(root.at("model"), llama);
  data = parse_data(root);
  const WindowRule& windows = data.windows;

  const Config rope_config = root.at("rope", "{type: model}"), rescale_config = root.at("rescale", "{type: none}");
  method.rope = Registry<RopeScheme>::instance().build(rope_config);
  method.geometry = llama.rope_geometry(windows.length);
  check_at(rope_config, [&] { method.rope->table(method.geometry, windows.length); });
  method.rescaling = parse_rescaling(rescale_config, llama);
  if (const BandLayout* bands = method.rescaling->unscaled_bands()) method.search = read_search(rescale_config, *bands);
  method.quantization = Quantization(root, llama);
  if (method.search && method.search->spec.quantization)
    method.searched.emplace(*method.search->spec.quantization, llama);
  if (method.search) bind_search_rope();
  check_windows(root.at("windows"));

  if (data.text) {
    output.make_metrics = [root, rule = windows, spec = *data.text] { return parse_metrics(root, rule, spec); };
    output.metrics = output.make_metrics();
  }
  if (root.has("reference")) {
    const Config block = root.at("reference");
    model.reference.emplace(block, model.spec, llama, rope_config, windows.length);
    if (!needs_reference()) block.fail("no metric compares with it; list kl_divergence or long_ppl in `metrics`");
  }
  output.diagnostics = parse_diagnostics(root, llama, windows);
  for (const char* key : {"metrics", "diagnostics"}) {
    if (!data.text && root.has(key)) root.at(key).fail("look at windows of text; give `data`, too");
  }
  seed = root.get<int64_t>("seed", 0);
  output.exported = parse_export(root, *this);
  if (const std::string key = needs_resident_weights(); model.spec.weights == LayerWeights::streamed && !key.empty()) {
    root.at("model").at("weights").fail(
        fmt::format("{} looks at every layer again and again, or at all at once; say model.weights: resident", key));
  }
  check_all_read(root);

  resolved = root.resolved();
  resolved.erase("export");
  resolved["model"].erase("weights");  // which changes no number
  method.quantization.resolve(resolved);
  if (method.searched) method.searched->resolve(resolved["rescale"]["search"]["quantization"]);
  id = hash_bytes(resolved.dump()).substr(0, 16);
  for (const char* key : {"path", "dtype", "device"}) shared.push_back(resolved["model"][key].dump());
  for (const Json& key : {resolved["model"], search_quantization().key, resolved["rescale"], method.quantization.key}) {
    shared.push_back(key.dump());
  }
}

std::string Job::needs_resident_weights() const {
  if (!data.tasks.empty()) return "tasks";
  if (output.exported) return "export";
  return output.diagnostics.contains("quant_error") ? "diagnostics: quant_error" : "";
}

void Job::check_windows(const Config& place) const {
  const WindowRule& windows = data.windows;
  const LlamaConfig& llama = model.config;
  if (windows.feed.bos != Bos::none && (data.text || method.search) && !llama.bos_token_id) {
    (place.has("bos") ? place.at("bos") : place)
        .fail("the model has no BOS: its config.json says bos_token_id: null; say windows.bos: false");
  }
  int64_t longest = windows.length;
  if (method.quantization.calibration) longest = std::max(longest, method.quantization.calibration->length);
  if (method.search) longest = std::max(longest, std::ranges::max(method.search->spec.lengths));
  if (llama.doubtful_window.value_or(longest) < longest) {
    place.at("length").fail(
        fmt::format("{} tokens go through a model of type llama whose config.json says sliding_window: {}, which "
                    "transformers ignores and others do not; take windows up to that length, or set sliding_window to "
                    "null where the model was trained without one",
                    longest, *llama.doubtful_window));
  }
}

void Job::bind_search_rope() {
  const std::optional<Config>& block = method.search->spec.rope;
  if (!block) return;
  method.search_rope = Registry<RopeScheme>::instance().build(*block);
  check_at(*block, [&] { search_rope().table(search_geometry(), search_geometry().target_length); });
  const auto& calibration = search_quantization().calibration;
  if (calibration && calibration->evaluated_rope) {
    block->fail("the calibration runs under the evaluated scheme, not under this one; write calibration.rope: trained");
  }
}

RopeGeometry Job::search_geometry() const {
  RopeGeometry geometry = method.geometry;
  if (method.search_rope) geometry.target_length = std::ranges::max(method.search->spec.lengths);
  return geometry;
}

RopeTable Job::trained_table(int64_t length) const {
  return Registry<RopeScheme>::instance()
      .build(Config::parse("{type: model}", "calibration.rope"))
      ->table(method.geometry, length);
}

std::vector<Job> parse_experiment(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  std::vector<Job> jobs;
  ErrorList errors;
  std::set<std::string> ids;
  ModelConfigs read;
  std::vector<std::pair<std::size_t, NamedPoint>> controls;  // the index of the job that precedes each, and the control
  for (const SweepPoint& point : expand(Config::load(file, overrides))) {
    try {
      Job job(point, read);
      if (!ids.insert(job.id).second) {
        fail("{}: two points of the sweep are the same job ({}); an axis there changes nothing", point.origin,
             job.axes.dump());
      }
      if (job.method.search) {
        std::vector<NamedPoint> own = controls_of(point);
        if (!own.empty()) {  // from which these axes tell it
          for (const auto& [axis, value] : control_block_axes(point)) job.axes[axis] = value;
        }
        for (NamedPoint& control : own) controls.emplace_back(jobs.size(), std::move(control));
      }
      jobs.push_back(std::move(job));
      errors.count_success();
    } catch (const Error& error) {
      errors.add(error.what());
    }
  }
  errors.throw_if_any();
  for (const auto& [searched, control] : controls) {
    Job job(control.point, read);
    jobs[searched].output.controls[control.name] = job.id;
    if (ids.insert(job.id).second) jobs.push_back(std::move(job));
  }
  check_export_folders(jobs);
  return jobs;
}

}  // namespace qroar
