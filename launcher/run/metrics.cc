// Appends to metrics.jsonl; a resumed run first drops later steps.

#include "launcher/run/metrics.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/error.h"
#include "runtime/files.h"
#include "runtime/number_text.h"

namespace timepipe {
namespace {

// The whole lines of the first `steps` steps, with their evaluations, but for
// that of the last of them unless it is `evaluated`.
std::string lines_of(const std::string& text, int64_t steps, bool evaluated) {
  std::string kept;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    const std::string line = text.substr(begin, end - begin);
    const auto value = nlohmann::json::parse(line, nullptr, false);
    if (!value.is_object() || !value.contains("step")) continue;
    if (!value["step"].is_number_integer()) continue;
    const bool made_again =
        !evaluated && value["step"] == steps && value.contains("held_out_loss");
    if (value["step"] <= steps && !made_again) kept += line + "\n";
  }
  return kept;
}

// "2026-01-31T12:00:00Z"
std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

void add_reach(nlohmann::ordered_json& line, const TrainData::Reach& reach) {
  line["tokens_seen"] = reach.tokens;
  line["epoch"] = reach.epoch;
  if (reach.entry_epochs.empty()) return;
  line["entry_epochs"] = reach.entry_epochs;
}

}  // namespace

Metrics::Metrics(const std::string& run_dir, int64_t steps, bool evaluated,
                 const TrainData& data)
    : data_(data), path_(run_dir + "/metrics.jsonl") {
  std::string before;
  if (std::filesystem::exists(path_)) {
    before = lines_of(read_text(path_), steps, evaluated);
  }
  write_file(path_, before);
  file_.open(path_, std::ios::app | std::ios::binary);
  if (!file_) throw IoError(path_ + ": " + std::strerror(errno));
}

void Metrics::write(int64_t step, const Trainer::StepResult& result, double lr,
                    const StepTime& time) {
  nlohmann::ordered_json line;  // what isn't finite becomes null
  line["step"] = step + 1;
  line["loss"] = result.loss;
  line["grad_norm"] = result.grad_norm;
  line["finite"] = result.finite;
  line["lr"] = lr;
  add_reach(line, data_.after(step + 1));
  line["tokens_per_second"] = time.tokens_per_second;
  line["peak_share"] = time.peak_share;
  line["peak_rss_bytes"] = peak_rss_bytes();
  line["digest"] = hex_text(result.digest);
  line["time"] = utc_now();
  write_line(line.dump());
}

void Metrics::write_evaluation(int64_t steps_done, double held_out_loss) {
  nlohmann::ordered_json line;
  line["step"] = steps_done;
  line["held_out_loss"] = held_out_loss;
  add_reach(line, data_.after(steps_done));
  line["time"] = utc_now();
  write_line(line.dump());
}

void Metrics::write_line(const std::string& line) {
  file_ << line + "\n" << std::flush;
  if (!file_) throw IoError(path_ + ": can't be written");
}

std::string to_string(const TrainData::Reach& reach) {
  return std::to_string(reach.tokens) + " tokens seen, epoch " +
         significant(reach.epoch, 6);
}

int64_t peak_rss_bytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace timepipe
