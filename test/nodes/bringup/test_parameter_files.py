# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Parameter files reach the same nodes with the same values as in rclpy."""

from __future__ import annotations

import pytest

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.bringup.parameter_files import read_parameters_file

ONE, TWO = '{ros__parameters: {a: 1}}', '{ros__parameters: {a: 2, b: 3}}'
FORMS = {
    'name': f'vla_adapter: {ONE}',
    'full name at the root': f'/vla_adapter: {ONE}',
    'relative': f'left/vla_adapter: {ONE}',
    'full name': f'/left/vla_adapter: {ONE}',
    'nested': f'left: {{vla_adapter: {ONE}}}',
    'nested with slashes': f'/left/: {{vla_adapter: {ONE}}}',
    'two nested': f'{{left: {{vla_adapter: {ONE}}}, right: {{vla_adapter: {TWO}}}}}',
    'all': f'/**: {ONE}',
    'all, relative': f"'**': {ONE}",
    'all of a name': f'/**/vla_adapter: {ONE}',
    'all of a name, nested': f'/**: {{vla_adapter: {ONE}}}',
    'one namespace': f'/*/vla_adapter: {ONE}',
    'two namespaces': f'/left/*/vla_adapter: {ONE}',
    'of a namespace': f'/left/*: {ONE}',
    'below a namespace': f'/left/**: {ONE}',
    'nested wildcard': f"left: {{'*': {ONE}}}",
    'root only': f'/*: {ONE}',
    'another arm': f'{{/right/vla_adapter: {ONE}, /**: {TWO}}}',
    'wildcard last': f'{{/left/vla_adapter: {ONE}, /**: {TWO}}}',
    'wildcard first': f'{{/**: {TWO}, /left/vla_adapter: {ONE}}}',
    'name and all': f'{{vla_adapter: {ONE}, /**: {TWO}}}',
    'wildcard in the middle': f'{{/**/vla_adapter: {ONE}, /**: {TWO}, left/vla_adapter: {ONE}}}',
    'values': """
/**:
  ros__parameters:
    {a: 1e-1, b: yes, c: '12', d: 012, e: 1_000, f: 0x10, g: .5, h: [1, 2], i: on, j: 'no', k: 1.,
     l: !!str 5, n: TRUE, o: 2026-01-31, p: '1:30', q: 1e5, r: '', t: +3, v: 1.5E+3, w: -2, x: Off,
     y: nothing, z: {deep: {er: 4.25}, other: [a, b]}, dotted.name: true, A: Y, B: .inf, C: -.inf}
""",
}


@pytest.fixture(scope='module')
def of_rclpy():
    """A function that starts a node with a parameter file and returns what it got."""
    pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')
    import rclpy

    def parameters(path, namespace):
        context = rclpy.Context()
        arguments = ['--ros-args', '--params-file', str(path), '-r', f'__ns:={namespace}']
        rclpy.init(args=arguments, context=context)
        node = rclpy.create_node(
            'vla_adapter', context=context, enable_rosout=False, start_parameter_services=False,
            automatically_declare_parameters_from_overrides=True,
        )  # fmt: skip
        found = {name: parameter.value for name, parameter in node._parameters.items()}
        node.destroy_node()
        rclpy.shutdown(context=context)
        own = ('use_sim_time', 'start_type_description_service')
        return {name: value for name, value in found.items() if name not in own}

    return parameters


@pytest.mark.parametrize('text', FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize('namespace', ['/', '/left', '/left/arm'])
def test_sections_and_values_are_those_of_rclpy(tmp_path, of_rclpy, text, namespace):
    path = tmp_path / 'p.yaml'
    path.write_text(text)
    expected = of_rclpy(path, namespace)
    full_name = f'{namespace.rstrip("/")}/vla_adapter'
    try:
        found = read_parameters_file(path).of(full_name)
    except VLAAdapterError as error:
        # Where ROS would leave a node silently without its section.
        assert expected == {} or text.startswith('{vla_adapter: ')
        assert f'reaches {full_name}, only' in str(error)
        return
    assert {k: list(v) if isinstance(v, list) else v for k, v in found.items()} == {
        k: list(v) if not isinstance(v, (str, int, float)) else v for k, v in expected.items()
    }
    assert {k: type(v) for k, v in found.items() if not isinstance(v, list)} == {
        k: type(v) for k, v in expected.items() if isinstance(v, (str, int, float))
    }


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('vla_adapter: [', 'is not YAML'),
        ('- a', 'expected node names at the top level'),
        ('', 'expected node names at the top level'),
        ('vla_adapter: {device: cpu}', 'vla_adapter/device has no ros__parameters'),
        ('vla_adapter: {}', 'vla_adapter has no ros__parameters'),
        ('vla_adapter: {ros__parameters: }', 'vla_adapter has no ros__parameters'),
        ('left: {vla_adapter: 3}', 'left/vla_adapter has no ros__parameters'),
        ('vla_adapter: {ros__parameters: {a: }}', 'parameter a has no value'),
        ('vla_adaptor: {ros__parameters: {}}', "node '/vla_adaptor', expected: vla_adapter, /**"),
        ('/left/vla*: {ros__parameters: {}}', "node '/left/vla*', expected: vla_adapter"),
    ],
)
def test_a_bad_parameter_file_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / 'p.yaml'
    path.write_text(text)
    with pytest.raises(VLAAdapterError) as caught:
        read_parameters_file(path, ('vla_adapter',))
    assert message in str(caught.value)
    assert '\n' not in str(caught.value)
