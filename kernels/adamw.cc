#include "kernels/adamw.h"

#include <string>

#include "kernels/checks.h"
#include "kernels/cpu/cpu_kernels.h"

namespace timepipe {
namespace {

void require_beta(const char* name, double beta) {
  require(beta >= 0 && beta < 1,
          std::string(name) + ": " + std::to_string(beta) + ", expected [0,1)");
}

}  // namespace

void adamw(Context&, const AdamW& hyper, const Tensor& g, Tensor& m, Tensor& v,
           Tensor& p) {
  require_floating("g", g);
  require_rank("g", g, 1);
  require_tensor("m", m, g, g.shape());
  require_tensor("v", v, g, g.shape());
  require_tensor("p", p, g, g.shape());
  require_beta("beta1", hyper.beta1);
  require_beta("beta2", hyper.beta2);
  require(hyper.step >= 0,
          "step: " + std::to_string(hyper.step) + ", expected at least 0");
  cpu::adamw(hyper, g, m, v, p);
}

}  // namespace timepipe
