# Generates what rclpy needs of the message, service and action files beside CMakeLists.txt: the C
# and Python sides. Without the C++ side, rosidl_default_generators takes more than twice as long.
macro(python_interfaces)
  find_package(ament_cmake REQUIRED)
  find_package(rosidl_cmake REQUIRED)
  foreach(dependency ${ARGN})
    find_package(${dependency} REQUIRED)
  endforeach()
  foreach(generator
      rosidl_generator_type_description
      rosidl_generator_c
      rosidl_typesupport_introspection_c
      rosidl_typesupport_fastrtps_c
      rosidl_typesupport_c
      rosidl_generator_py)
    find_package(${generator} REQUIRED)
  endforeach()

  # Dependencies bring the C++ generators in.
  list(FILTER AMENT_EXTENSIONS_rosidl_generate_idl_interfaces EXCLUDE REGEX "_cpp")

  file(GLOB interfaces RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} msg/*.msg srv/*.srv action/*.action)
  rosidl_generate_interfaces(${PROJECT_NAME} ${interfaces} DEPENDENCIES ${ARGN})
  # As in hiwm_interfaces: headers are read once, not once for each message.
  set_target_properties(${PROJECT_NAME}__rosidl_typesupport_fastrtps_c PROPERTIES
    UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 16)
  target_compile_options(${PROJECT_NAME}__rosidl_typesupport_fastrtps_c PRIVATE -Wno-redundant-decls)
  ament_package()
endmacro()
