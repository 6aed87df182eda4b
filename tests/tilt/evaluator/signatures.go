package main

// What Tilt's functions take, in the order of their positions: `name:kind`, with a `?` after the name of what may be left out.
// From Tilt 0.37.6. A function that is not here does not exist for the test; add it when the Tiltfile needs it.
var signatures = map[string]string{
	"allow_k8s_contexts": "contexts:texts",
	"ci_settings":        "k8s_grace_period?:text timeout?:text readiness_timeout?:text",
	"docker_build": "ref:text context:path build_args?:environment dockerfile?:path dockerfile_contents?:text cache?:texts " +
		"live_update?:steps match_in_env_vars?:bool ignore?:texts only?:texts entrypoint?:command container_args?:list " +
		"target?:text ssh?:texts secret?:texts network?:text extra_tag?:texts cache_from?:texts pull?:bool platform?:text " +
		"extra_hosts?:texts",
	"exec_action":     "command:list",
	"fall_back_on":    "paths:paths",
	"http_get_action": "port:int host?:text scheme?:text path?:text",
	"k8s_resource": "workload?:text new_name?:text port_forwards?:any extra_pod_selectors?:any trigger_mode?:mode " +
		"resource_deps?:list objects?:list auto_init?:bool pod_readiness?:text links?:any labels?:texts discovery_strategy?:text",
	"k8s_yaml": "yaml:any allow_duplicates?:bool",
	"link":     "url:text name?:text",
	"local":    "command:command quiet?:bool command_bat?:command echo_off?:bool env?:environment dir?:path stdin?:text",
	"local_resource": "name:text cmd?:command deps?:paths trigger_mode?:mode resource_deps?:list ignore?:texts auto_init?:bool " +
		"serve_cmd?:command cmd_bat?:command serve_cmd_bat?:command allow_parallel?:bool links?:any labels?:texts env?:environment " +
		"serve_env?:environment readiness_probe?:probe dir?:path serve_dir?:path",
	"port_forward": "local_port:int container_port?:int name?:text link_path?:text host?:text",
	"probe": "initial_delay_secs?:int timeout_secs?:int period_secs?:int success_threshold?:int failure_threshold?:int " +
		"exec?:exec_action http_get?:http_get_action tcp_socket?:tcp_socket_action",
	"sync": "local_path:path remote_path:text",
	"update_settings": "max_parallel_updates?:int k8s_upsert_timeout_secs?:int suppress_unused_image_warnings?:texts " +
		"k8s_server_side_apply?:text",
	"version_settings": "check_updates?:bool constraint?:text",
	"warn":             "msg:text",
	"watch_file":       "paths:path",

	"config.set_enabled_resources": "resources:list",

	"v1alpha1.cmd": "name:text labels?:environment annotations?:environment args?:list dir?:path env?:list " +
		"readiness_probe?:any restart_on?:any start_on?:start_on_spec disable_source?:any",
	"v1alpha1.start_on_spec": "start_after?:any ui_buttons?:list",
	"v1alpha1.ui_button": "name:text labels?:environment annotations?:environment location?:ui_component_location text?:text " +
		"icon_name?:text icon_svg?:text disabled?:bool requires_confirmation?:bool inputs?:list",
	"v1alpha1.ui_component_location": "component_id?:text component_type?:text",
	"v1alpha1.ui_input_spec":         "name?:text label?:text text?:ui_text_input_spec bool?:any hidden?:any choice?:any",
	"v1alpha1.ui_text_input_spec":    "default_value?:text placeholder?:text",
}
