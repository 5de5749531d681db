// resnet_nodes.i: the native engine's headers as C# classes, internal to the managed layer.
%module Functions

%pragma(csharp) moduleclassmodifiers="internal static class"
%pragma(csharp) imclassclassmodifiers="internal class"
%typemap(csclassmodifiers) SWIGTYPE "internal partial class"
%typemap(csclassmodifiers) SWIGTYPE *, SWIGTYPE &, SWIGTYPE [], SWIGTYPE (CLASS::*) "internal class"
%typemap(csclassmodifiers) enum SWIGTYPE "internal enum"

%{
#include <new>

#include "resnet_nodes/callbacks.h"
#include "resnet_nodes/communicator.h"
#include "resnet_nodes/error.h"
#include "resnet_nodes/host.h"
#include "resnet_nodes/layers.h"
#include "resnet_nodes/options.h"
#include "resnet_nodes/runtime.h"
#include "resnet_nodes/stage.h"
%}

// --- Exceptions: whatever is thrown becomes one kind of C# exception ---------------------------------------------------
%insert(runtime) %{
enum PendingKind { kLibraryError = 0, kDisposed = 1 };
typedef void (SWIGSTDCALL* PendingCallback)(int kind, const char* message);
static PendingCallback resnet_nodes_pending_callback = nullptr;
static void resnet_nodes_set_pending(int kind, const char* message) { resnet_nodes_pending_callback(kind, message); }

#ifdef __cplusplus
extern "C"
#endif
SWIGEXPORT void SWIGSTDCALL ResNetNodes_RegisterPending(PendingCallback callback) {
  resnet_nodes_pending_callback = callback;
}
%}

%pragma(csharp) imclasscode=%{
  [global::System.Runtime.InteropServices.DllImport("$dllimport", EntryPoint="ResNetNodes_RegisterPending")]
  private static extern void RegisterPending(PendingDelegate callback);

  private delegate void PendingDelegate(int kind, string message);

  // Kept, so that the garbage collector leaves the address that native code holds.
  private static readonly PendingDelegate pendingDelegate = Register();

  private static PendingDelegate Register() {
    PendingDelegate callback = (kind, message) => SWIGPendingException.Set(
        kind == 1 ? new global::System.ObjectDisposedException(null, message) : new global::ResNetNodes.ResNetNodesException(message));
    RegisterPending(callback);
    return callback;
  }
%}

%exception {
  try {
    $action
  } catch (const std::bad_alloc&) {
    resnet_nodes_set_pending(kLibraryError, "out of memory in the native engine; take a smaller batch");
    return $null;
  } catch (const std::exception& e) {
    resnet_nodes_set_pending(kLibraryError, e.what());
    return $null;
  } catch (...) {
    resnet_nodes_set_pending(kLibraryError, "an unknown failure in the native engine");
    return $null;
  }
}

// A disposed object's pointer is null.
%typemap(check, canthrow=1) SWIGTYPE *self %{
  if (!$1) {
    resnet_nodes_set_pending(kDisposed, "the native object was disposed");
    return $null;
  }
%}

// --- Types ------------------------------------------------------------------------------------------------------------
// int64_t is long here; SWIG would make a 32-bit int of that.
#define SWIGWORDSIZE64
%include <stdint.i>
%apply long long { long };
%apply const long long & { const long & };
%include <std_string.i>
%include <std_vector.i>
%include <std_unique_ptr.i>
%apply void *VOID_INT_PTR { void * }

%include "tensor_typemaps.i"

namespace resnet_nodes { using torch::stable::Tensor; }

// Before the renames, which would give the lists' own members a second name.
namespace resnet_nodes {
struct LayerSpec;
struct FunctionSpec;
struct PassCost;
struct ReconstructionPlan;
struct SolverPlan;
struct StageOptions;
struct StepReport;
}
%template(LayerList) std::vector<resnet_nodes::LayerSpec>;
%template(FunctionList) std::vector<resnet_nodes::FunctionSpec>;
%template(PlanList) std::vector<resnet_nodes::ReconstructionPlan>;
%template(SolverPlanList) std::vector<resnet_nodes::SolverPlan>;
%template(CostList) std::vector<resnet_nodes::PassCost>;
%template(OptionsList) std::vector<resnet_nodes::StageOptions>;
%template(StepList) std::vector<resnet_nodes::StepReport>;
%template(DoubleList) std::vector<double>;
%template(LongList) std::vector<int64_t>;
%template(StringList) std::vector<std::string>;

%rename("%(camelcase)s", %$isfunction) "";
%rename("%(camelcase)s", %$isvariable) "";
%rename("%(camelcase)s", %$isenumitem) "";

%unique_ptr(resnet_nodes::StageContext)
%ignore resnet_nodes::StageContext::StageContext;
%ignore resnet_nodes::StageContext::Impl;
%ignore resnet_nodes::StageContext::impl;
%ignore resnet_nodes::Stage::Impl;
%ignore resnet_nodes::Communicator::Communicator(const ResNetNodesTransport&);
%ignore resnet_nodes::Communicator::operator=;
// The managed layer has one of this name.
%rename(NativeCommunicator) resnet_nodes::Communicator;
%ignore resnet_nodes::Communicator::norm_sums;

#define RESNET_NODES_API

%include "resnet_nodes/layers.h"
%include "resnet_nodes/callbacks.h"
%include "resnet_nodes/communicator.h"
%include "resnet_nodes/options.h"
%include "resnet_nodes/stage.h"
%include "resnet_nodes/runtime.h"
%include "resnet_nodes/host.h"
