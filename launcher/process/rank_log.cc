#include "launcher/process/rank_log.h"

#include <glog/logging.h>
#include <unistd.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <system_error>

namespace timepipe {
namespace {

bool has_file = false;

}  // namespace

void start_rank_log(const std::string& run_dir, int rank) {
  const std::string folder = run_dir + "/logs";
  char name[32];
  std::snprintf(name, sizeof(name), "/rank-%05d.log", rank);
  const std::string path = folder + name;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!error && !std::ofstream(path, std::ios::app)) {
    error = {errno, std::generic_category()};
  }
  if (error) {  // glog would say less of it, again with every line
    return tell(path + ": " + error.message() +
                "; the run goes on without this log");
  }
  FLAGS_timestamp_in_logfile_name = false;
  FLAGS_logbuflevel = -1;  // a killed run's lines are there
  google::SetLogDestination(google::GLOG_INFO, path.c_str());
  google::SetLogSymlink(google::GLOG_INFO, "");
  for (const auto level :
       {google::GLOG_WARNING, google::GLOG_ERROR, google::GLOG_FATAL}) {
    google::SetLogDestination(level, "");  // the one file has them all
    google::SetLogSymlink(level, "");
  }
  FLAGS_stderrthreshold = google::GLOG_WARNING;
  FLAGS_logtostderr = false;
  has_file = true;
}

void log_line(const std::string& text) {
  if (has_file) LOG(INFO) << text;
}

void tell(const std::string& text) {
  std::cerr << "timepipe: " + text + "\n" << std::flush;
  log_line(text);
}

std::string describe_process() {
  std::array<char, 256> host = {};
  gethostname(host.data(), host.size() - 1);
  std::string text =
      std::string("host ") + host.data() + ", pid " + std::to_string(getpid());
#ifdef _OPENMP
  text += ", " + std::to_string(omp_get_max_threads()) + " thread(s)";
#endif
  return text;
}

}  // namespace timepipe
