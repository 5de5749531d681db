namespace ResNetNodes;

/// <summary>How a residual stage is integrated from its first state to its last.</summary>
public enum Solver
{
    /// <summary>x_{n+1} = x_n + h f_n(x_n): a ResNet; order 1, N steps for N functions.</summary>
    Euler,

    /// <summary>
    /// k1 = f_n(x), k2 = f_{n+1}(x + h k1), x_{n+1} = x_n + h/2 (k1 + k2): a HeunNet; order 2, N − 1 steps for N functions
    /// (arXiv 2205.14612, section 4).
    /// </summary>
    Heun,
}
