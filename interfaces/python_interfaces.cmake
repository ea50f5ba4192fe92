# Generates what rclpy needs of message, service and action files: the C and Python sides. Without
# the C++ side, rosidl_default_generators takes more than twice as long.

# Finds the generators and the dependencies, and leaves the C++ generators out.
macro(python_generators)
  find_package(ament_cmake REQUIRED)
  find_package(rosidl_cmake REQUIRED)
  # Services and actions depend on these two. Found later, they would bring the C++ side in.
  foreach(dependency service_msgs action_msgs ${ARGN})
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
endmacro()

# Makes a package of the message, service and action files beside CMakeLists.txt.
macro(python_interfaces)
  python_generators(${ARGN})
  file(GLOB interfaces RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} msg/*.msg srv/*.srv action/*.action)
  rosidl_generate_interfaces(${PROJECT_NAME} ${interfaces} DEPENDENCIES ${ARGN})
  # As in hiwm_interfaces: headers are read once, not once for each message.
  set_target_properties(${PROJECT_NAME}__rosidl_typesupport_fastrtps_c PROPERTIES
    UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 16)
  target_compile_options(${PROJECT_NAME}__rosidl_typesupport_fastrtps_c PRIVATE -Wno-redundant-decls)
  ament_package()
endmacro()
