// Appends to metrics.jsonl; a resumed run first drops later steps.

#include "launcher/run/metrics.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "launcher/process/rank_log.h"
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

// Makes the file of these lines alone and returns its path.
std::string with_lines_of(const std::string& path, int64_t steps,
                          bool evaluated) {
  std::string before;
  if (std::filesystem::exists(path)) {
    before = lines_of(read_text(path), steps, evaluated);
  }
  write_file(path, before);
  return path;
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
    : data_(data),
      path_(with_lines_of(run_dir + "/metrics.jsonl", steps, evaluated)),
      file_(path_, O_WRONLY),
      size_bytes_(static_cast<int64_t>(std::filesystem::file_size(path_))) {}

Metrics::~Metrics() {
  if (waiting_.empty()) return;
  const std::string lines = waiting_text();
  const std::string error = write_waiting();
  tell(lines + (error.empty() ? " that waited are written"
                              : " can't be written and are lost: " + error +
                                    "; checkpoints don't need them"));
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
  line["peak_flops"] = time.peak_flops;
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
  const bool others_wait = !waiting_.empty();
  waiting_ += line + "\n";
  const std::string lines = waiting_text();
  const std::string error = write_waiting();
  if (error.empty() && others_wait) tell(lines + " that waited are written");
  if (error.empty() || others_wait) return;
  tell(path_ + ": " + error + "; the run goes on, lines wait until there is " +
       "room");
}

std::string Metrics::write_waiting() {
  const auto size = static_cast<int64_t>(waiting_.size());
  for (int64_t done = 0; done < size;) {
    const ssize_t written =
        ::pwrite(file_.get(), waiting_.data() + done,
                 static_cast<std::size_t>(size - done), size_bytes_ + done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      std::string error = std::strerror(errno);
      const bool cut = ::ftruncate(file_.get(), size_bytes_) == 0;
      static_cast<void>(cut);  // a torn line that stays is written over
      return error;
    }
    done += written;
  }
  size_bytes_ += size;
  waiting_.clear();
  return "";
}

std::string Metrics::waiting_text() const {
  return path_ + ": " + std::to_string(std::ranges::count(waiting_, '\n')) +
         " line(s)";
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
