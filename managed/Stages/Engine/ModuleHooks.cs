#if NET9_0_OR_GREATER
using System.Runtime.CompilerServices;
#else
using System.Collections;
using System.Reflection;
#endif
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>Whether hooks are registered on a module. TorchSharp keeps them to itself; its version is pinned, and tests ask.</summary>
internal static class ModuleHooks
{
    public static bool Any<TPreHook, TPostHook>(nn.HookableModule<TPreHook, TPostHook> module) => Of<TPreHook, TPostHook>.Any(module);

    private static class Of<TPreHook, TPostHook>
    {
#if NET9_0_OR_GREATER
        public static bool Any(nn.HookableModule<TPreHook, TPostHook> module) =>
            Before(module).Count > 0 || After(module).Count > 0 || BeforeAny(module).Count > 0 || AfterAny(module).Count > 0;

        [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "pre_hooks")]
        private static extern ref Dictionary<string, TPreHook> Before(nn.HookableModule<TPreHook, TPostHook> module);

        [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "post_hooks")]
        private static extern ref Dictionary<string, TPostHook> After(nn.HookableModule<TPreHook, TPostHook> module);

        [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "module_pre_hooks")]
        private static extern ref Dictionary<string, Action<nn.Module>> BeforeAny(nn.HookableModule<TPreHook, TPostHook> module);

        [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "module_post_hooks")]
        private static extern ref Dictionary<string, Action<nn.Module>> AfterAny(nn.HookableModule<TPreHook, TPostHook> module);
#else
        // .NET 8 has no such accessors of generic types.
        private static readonly FieldInfo[] Fields =
        [
            .. new[] { "pre_hooks", "post_hooks", "module_pre_hooks", "module_post_hooks" }.Select(name =>
                typeof(nn.HookableModule<TPreHook, TPostHook>).GetField(name, BindingFlags.Instance | BindingFlags.NonPublic)!),
        ];

        public static bool Any(nn.HookableModule<TPreHook, TPostHook> module) =>
            Array.Exists(Fields, field => ((ICollection)field.GetValue(module)!).Count > 0);
#endif
    }
}
