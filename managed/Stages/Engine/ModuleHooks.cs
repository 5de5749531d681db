using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>Whether hooks are registered on a module. TorchSharp keeps them to itself; its version is pinned, and tests ask.</summary>
internal static class ModuleHooks
{
    public static bool Any<TPreHook, TPostHook>(nn.HookableModule<TPreHook, TPostHook> module) =>
        Of<TPreHook, TPostHook>.Before(module).Count > 0
        || Of<TPreHook, TPostHook>.After(module).Count > 0
        || Of<TPreHook, TPostHook>.BeforeAny(module).Count > 0
        || Of<TPreHook, TPostHook>.AfterAny(module).Count > 0;

    private static class Of<TPreHook, TPostHook>
    {
        [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "pre_hooks")]
        public static extern ref Dictionary<string, TPreHook> Before(nn.HookableModule<TPreHook, TPostHook> module);

        [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "post_hooks")]
        public static extern ref Dictionary<string, TPostHook> After(nn.HookableModule<TPreHook, TPostHook> module);

        [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "module_pre_hooks")]
        public static extern ref Dictionary<string, Action<nn.Module>> BeforeAny(nn.HookableModule<TPreHook, TPostHook> module);

        [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "module_post_hooks")]
        public static extern ref Dictionary<string, Action<nn.Module>> AfterAny(nn.HookableModule<TPreHook, TPostHook> module);
    }
}
