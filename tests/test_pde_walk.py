"""Walks of jets through the hidden layers, their dense maps, and jets as a state."""

from __future__ import annotations

import numpy as np
import pytest
from pde_problems import BOX, PROBLEMS, build, separate

from lysep_fast.kernels.jet import JET_CODES
from lysep_fast.pde.hidden import Hidden
from lysep_fast.pde.jets import JetNetwork
from lysep_fast.pde.walk import Walk, feature_map
from lysep_fast.threads.team import Team, Workspace

WIDTHS = (2, 5, 3, 4)


def new(name, shape):
    return np.empty(shape)


def make_walk(channels, activation="tanh", k=3, seed=0, empty=new):
    rng = np.random.default_rng(seed)
    hidden = Hidden.random(WIDTHS, 1.0, BOX.bounds(), rng)
    P = rng.normal(size=(channels, k, 2))
    return Walk(P, WIDTHS, feature_map(activation, channels), empty), hidden, rng


@pytest.mark.parametrize("l", [1, 2, 3])
def test_the_maps_have_their_adjoints(l):
    _, hidden, rng = make_walk(4)
    k, m = WIDTHS[l - 1 : l + 1]
    P, Z, dW = rng.normal(size=(4, 3, k)), rng.normal(size=(4, 3, m)), rng.normal(size=(m, k))
    out = hidden.apply(l, P, np.empty(Z.shape))
    np.testing.assert_allclose(out, P @ hidden.W[l].T, rtol=1e-13)
    back = hidden.adjoint(l, Z, np.empty(P.shape))
    np.testing.assert_allclose(np.vdot(Z, out), np.vdot(back, P))
    slope = hidden.correlation(l, Z, P)
    np.testing.assert_allclose(np.vdot(slope, dW), np.vdot(Z, P @ dW.T))


def test_the_bias_belongs_to_the_value_alone():
    _, hidden, rng = make_walk(4)
    P = rng.normal(size=(4, 3, 2))
    bias = hidden.predict(1, P, np.empty((4, 3, 5))) - hidden.apply(1, P, np.empty((4, 3, 5)))
    np.testing.assert_allclose(bias[0], np.tile(hidden.b[1], (3, 1)), rtol=1e-12)
    assert not np.any(bias[1:])


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_one_memory_for_all_layers_gives_the_same_last_features(channels):
    ws = Workspace()
    walk, hidden, _ = make_walk(channels)
    lean, _, _ = make_walk(channels, empty=lambda name, shape: ws.array(name, shape, float))
    assert walk.up(hidden).tobytes() == lean.up(hidden).tobytes()
    assert (walk.depth, walk.channels, len(walk)) == (3, channels, 3)


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("activation", list(JET_CODES))
def test_the_walk_down_gives_derivatives_in_the_jets(channels, activation):
    walk, hidden, rng = make_walk(channels, activation)
    G, h = rng.normal(size=walk.up(hidden).shape), 1e-5
    ws = Workspace()
    found = {l: Z.copy() for l, Z in walk.down(hidden, G.copy(), ws)}
    assert list(found) == [3, 2, 1]
    origin = {l: walk.J[l].copy() for l in found}
    for l, Z in found.items():
        direction, values = rng.normal(size=Z.shape), []
        for sign in (1, -1):
            walk.J[l][...] = origin[l] + sign * h * direction
            walk.refresh(l)
            for i in range(l + 1, walk.depth + 1):
                hidden.predict(i, walk.P[i - 1], walk.J[i])
                walk.refresh(i)
            values.append(np.vdot(G, walk.P[-1]))
        np.testing.assert_allclose(
            np.vdot(Z, direction), (values[0] - values[1]) / (2 * h), rtol=1e-6, atol=1e-8
        )


def test_the_top_of_a_walk_down_comes_from_the_channels_of_the_output():
    walk, _, rng = make_walk(4)
    w, slopes = rng.normal(size=4), {0: rng.normal(size=3), 3: rng.normal(size=3)}
    ws = Workspace()
    ws.array("G", (4, 3, 4), float)[...] = np.nan  # what was there before does not matter
    G = walk.top(w, slopes.items(), ws)
    assert not np.any(G[1:3])
    for ch, slope in slopes.items():
        np.testing.assert_array_equal(G[ch], np.outer(slope, w))


def test_the_difference_vanishes_after_a_walk_up():
    walk, hidden, _ = make_walk(4)
    walk.up(hidden)
    for l in (1, 2, 3):
        assert not np.any(walk.difference(hidden, l, Workspace()))


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_jets_are_restored_with_the_bits_of_their_features(name):
    with Team(1) as team:
        problem, state = build(team, name)
        separate(problem, state, disturb=0.3)
        other = JetNetwork.like(state.jets, state.jets.sets)
        other.load_state_dict(state.jets.state_dict())
    for mine, theirs in zip(other.parts, state.jets.parts, strict=True):
        assert mine.rows == theirs.rows
        for l in (1, 2):
            for arrays in ((mine.J, theirs.J), (mine.P, theirs.P), (mine.D, theirs.D)):
                assert arrays[0][l].tobytes() == arrays[1][l].tobytes()
    assert sum(len(part) for part in other.parts) == other.n_rows == other.parts[-1].rows.stop


def test_jets_of_another_network_are_refused():
    with Team(1) as team:
        problem, state = build(team, "linear")
        separate(problem, state)
        other, _ = build(team, "linear", widths=(5, 6))
        with pytest.raises(ValueError, match="'2' of shape"):
            other.network.load_state_dict(state.jets.state_dict())
